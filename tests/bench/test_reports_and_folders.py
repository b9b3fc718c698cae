"""A report that cannot be written, and an --out that is removed during the run: one line each, and no failure is hidden."""

import shutil

import pytest

import bench
from core.errors import UserError
from methods import METHODS
from run_store.layout import RESULTS
from tests.runs import SMALL
from training.loop import Diverged


def _fail(*arguments, **named):
    raise Diverged("the loss is not finite")


def _folder_at(path):
    path.mkdir()


def _file_at(path):
    path.write_text("")


def _raise(error):
    def fail(*arguments, **named):
        raise error

    return fail


@pytest.mark.parametrize(("name", "block"), [("tables", _file_at), ("figures", _file_at), ("report.html", _folder_at)])
@pytest.mark.figures
def test_failures_are_reported_if_a_part_of_the_report_cannot_be_written(name, block, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(METHODS["byol"], "loss", _fail)
    block(tmp_path / name)
    assert bench.main([*SMALL, "--methods", "byol", "simclr", "--probes", "knn", "--out", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    (report,) = [line for line in lines if line.startswith("bench.py: no report: ")]
    assert str(tmp_path / name) in report
    assert lines[-1].startswith("FAILED digitslt-byol-")
    assert lines[-1].endswith(": the loss is not finite")
    assert len(list(tmp_path.glob("*/done"))) == 1


@pytest.mark.parametrize("failed", [True, False])
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("cannot write a: No space left on device"), "cannot write a: No space left on device"),
        (PermissionError(13, "Permission denied", "b"), "b: Permission denied; check the disk and the path"),
        (MemoryError(), "out of memory (MemoryError)"),
        (ValueError("x\ny"), "ValueError: x y; run `bench.py report` for the traceback"),  # a fault of the suite
    ],
)
def test_the_status_is_1_if_the_report_cannot_be_written(error, line, failed, tmp_path, monkeypatch, capsys):
    if failed:
        monkeypatch.setattr(METHODS["simclr"], "loss", _fail)
    monkeypatch.setattr("commands.report.report", _raise(error))
    assert bench.main([*SMALL, "--methods", "simclr", "--probes", "knn", "--out", str(tmp_path)]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("bench.py", "FAILED"))]
    assert lines[0].startswith(f"bench.py: no report: {line}")
    assert len(lines) == 1 + failed


def _when(monkeypatch, target, action):
    """Calls `action` before a function."""
    owner, name = target
    function = getattr(owner, name)

    def wrapped(*arguments, **named):
        action()
        return function(*arguments, **named)

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.parametrize("moment", ["training", "probing"])
def test_a_removed_out_is_named_and_not_created_again(moment, tmp_path, monkeypatch, capsys):
    import probing.probe

    out = tmp_path / "runs"
    target = {"training": (METHODS["byol"], "loss"), "probing": (probing.probe, "_save_sample")}[moment]
    with monkeypatch.context() as patched:
        _when(patched, target, lambda: list(out.glob("*/config.json")) and shutil.rmtree(out))  # not at the time estimate
        asked = [*SMALL, "--methods", "byol", "simclr", "--probes", "knn", "--out", str(out)]
        assert bench.main(asked) == 1
    lines = capsys.readouterr().err.splitlines()
    message = f"folder {out} was removed during the run; repeat the command, and keep the folder until it ends"
    assert f"bench.py: no report: {message}" in lines
    failed = [line for line in lines if line.startswith("FAILED")]
    assert [line.rpartition(f": {message}")[1] for line in failed] == [f": {message}"] * 2
    assert list(tmp_path.iterdir()) == []
    assert bench.main(asked) == 0
    assert len(list(out.glob(f"*/{RESULTS}"))) == 2


@pytest.mark.figures
def test_an_out_removed_during_the_report_is_named(tmp_path, monkeypatch, capsys):
    out = tmp_path / "runs"
    asked = [*SMALL, "--methods", "simclr", "--probes", "knn", "--out", str(out)]
    assert bench.main(asked) == 0
    capsys.readouterr()
    shutil.rmtree(out / "figures")  # else unchanged figures are not written
    import reports.figures.style

    _when(monkeypatch, (reports.figures.style, "write_atomic"), lambda: shutil.rmtree(out, ignore_errors=True))
    assert bench.main(["report", "--out", str(out)]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench.py")]
    assert line.startswith(f"bench.py: folder {out} was removed during the run")


@pytest.mark.figures
def test_unfinished_files_of_a_killed_report_are_removed(tmp_path):
    asked = [*SMALL, "--methods", "simclr", "--probes", "knn", "--out", str(tmp_path)]
    assert bench.main(asked) == 0
    litter = [tmp_path / ".report.html.0a1b2c3d.part"]
    litter += [tmp_path / folder / ".x.0a1b2c3d.part" for folder in ("tables", "figures")]
    for file in litter:
        file.write_text("half")
    assert bench.main(["report", "--out", str(tmp_path)]) == 0
    assert not [file for file in litter if file.exists()]


def test_a_fault_in_a_table_does_not_end_a_grid(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setattr("commands.report.write_tables", _raise(KeyError("x")))
    asked = [*SMALL, "--methods", "byol", "simclr", "--probes", "knn", "--out", str(tmp_path)]
    assert bench.main(asked) == 1
    assert len(list(tmp_path.glob("*/done"))) == 2
    assert [message for message in caplog.messages if "no tables yet" in message] == [
        "no tables yet: KeyError: 'x'; run `bench.py report` for the traceback"
    ]
    assert "bench.py: no report: KeyError: 'x'" in capsys.readouterr().err
    with pytest.raises(KeyError):
        bench.main(["report", "--out", str(tmp_path)])


@pytest.mark.parametrize("error", [BrokenPipeError(), SystemExit(1)])  # rich raises SystemExit
@pytest.mark.parametrize(
    ("words", "status"), [(["list"], 0), (["--help"], 0), (["run", "--help"], 0), (["--version"], 0), (["run"], 1), ([], 1)]
)
def test_a_pipe_that_is_closed_ends_a_grid_only(words, status, error, monkeypatch):
    monkeypatch.setattr(bench, "app", _raise(error))
    monkeypatch.setattr(bench.sys, "stdout", bench.sys.stdout)  # restored after the test
    assert bench.main(words) == status
