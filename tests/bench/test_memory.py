"""Failed allocations of memory are one line, and the run can be completed with more memory."""

import subprocess
import sys

import pytest
import torch

import bench
from core.errors import is_out_of_memory, memory_message
from methods import METHODS
from tests.conftest import DEADLINE, ROOT
from tests.runs import SMALL
from training.checkpoint import read_checkpoint

LIMITED = """
import faulthandler
import resource
import sys
import bench

MB = 1 << 20
extra, out = int(sys.argv[1]), sys.argv[2]
command = "--datasets digitslt --preset smoke --precision fp32 --epochs 1 --device cpu --workers 1 --probes knn".split()
bench.main([*command, "--methods", "simclr", "--out", f"{out}/warm"])  # loads all libraries
(used,) = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")]
_, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + extra * MB, hard))
print("limited", file=sys.stderr)
faulthandler.dump_traceback_later(120, exit=True)
sys.exit(bench.main([*command, "--methods", "byol", "simclr", "--backbone", "resnet50", "--batch-size", "335", "--out", out]))
"""


def _failures():
    cuda = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79 GiB\nMore")
    cpu = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 4390 "
        "bytes. Error code 12 (Cannot allocate memory)"
    )
    library = ImportError("libtorch_cpu.so: failed to map segment from shared object")
    return [
        (MemoryError(), "out of memory (MemoryError)"),
        (cuda, "out of memory (an allocation of 20.00 MiB failed)"),
        (cpu, "out of memory (an allocation of 4390 bytes failed)"),
        (library, "out of memory (libtorch_cpu.so: failed to map segment from shared object)"),
        (OSError(12, "Cannot allocate memory"), "out of memory ([Errno 12] Cannot allocate memory)"),
    ]


@pytest.mark.parametrize(("error", "start"), _failures(), ids=lambda value: type(value).__name__)
def test_a_failed_allocation_fails_the_run_with_one_line(error, start, tmp_path, monkeypatch, capsys):
    assert is_out_of_memory(error)
    advice = "; lower --batch-size or --jobs, choose a smaller --preset or --backbone, or raise the memory limit"
    assert memory_message(error) == start + advice

    def fail(self, batch):
        raise error

    monkeypatch.setattr(METHODS["byol"], "loss", fail)
    assert bench.main([*SMALL, "--methods", "byol", "simclr", "--probes", "knn", "--out", str(tmp_path)]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("FAILED")]
    assert line.endswith(start + advice)
    (text,) = tmp_path.glob("*byol*/error.txt")
    assert text.read_text().splitlines()[-1] == start + advice  # which the report shows
    assert len(list(tmp_path.glob("*simclr*/done"))) == 1


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("shape mismatch"), ImportError("no module")])
def test_other_errors_are_not_of_memory(error):
    assert not is_out_of_memory(error)


def test_another_command_without_memory_is_one_line(monkeypatch, capsys):
    def fail(*arguments, **named):
        raise MemoryError

    monkeypatch.setattr("commands.doctor.doctor", fail)
    assert bench.main(["doctor"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench.py: out of memory")


def test_a_checkpoint_that_does_not_fit_into_memory_is_not_damaged(tmp_path, monkeypatch):
    """Else the message would advise to delete it."""
    path = tmp_path / "checkpoint.pt"
    torch.save({"run_id": "x", "state": {}, "optimizer": {}, "progress": {}}, path)
    assert read_checkpoint(path, "x")["state"] == {}

    def fail(*arguments, **named):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("torch.load", fail)
        with pytest.raises(MemoryError):
            read_checkpoint(path, "x")


@pytest.mark.slow
# MB of address space beyond that of the loaded libraries
@pytest.mark.parametrize("extra", [30, 100, 300, 700])
def test_a_limit_on_memory_is_one_line_per_run(extra, tmp_path):
    start = [sys.executable, "-c", LIMITED, str(extra), str(tmp_path)]
    finished = subprocess.run(start, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    said = finished.stderr.partition("limited\n")[2]
    if "Timeout (" in said:  # such as CPython's `Thread.start`, for a thread that has no memory for its first object
        pytest.skip("without memory a library waits forever: " + said.partition("(most recent call first):")[2].strip()[:200])
    assert "Traceback" not in said
    if finished.returncode == 2:  # before the first run
        (line,) = [line for line in said.splitlines() if line.startswith("bench.py: ")]
        assert "out of memory" in line
    else:
        assert finished.returncode == 1
        failed = [line for line in said.splitlines() if line.startswith("FAILED")]
        assert len(failed) == 2
        assert all("out of memory" in line for line in failed)
