"""A FIFO, directory or device in place of any file of a run: `report` and `plan` end, with at most one line of error."""

import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import bench
from run_store.layout import (
    CHECKPOINT,
    CLASS_QUANTILES,
    CONFIG,
    DONE,
    ERROR,
    FEATURE_SAMPLE,
    LOG,
    PASSPORT,
    POOL,
    RESULTS,
    TAIL_SCORES,
    TRAINING,
    WEIGHTS,
)
from tests.runs import SMALL

pytestmark = pytest.mark.figures  # which read the files
FILES = (CONFIG, PASSPORT, POOL, LOG, WEIGHTS, TRAINING, TAIL_SCORES, CLASS_QUANTILES, FEATURE_SAMPLE, RESULTS, DONE, ERROR)
SECONDS = 300  # more is a hang, on a slow machine too


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished run."""
    out = tmp_path_factory.mktemp("runs")
    options = ("--methods", "byol", "--probes", "knn", "--out", str(out), *SMALL)
    assert bench.main(["run", *options]) == 0
    return out


@contextmanager
def _limit():
    def hang(*_):
        raise TimeoutError("the command hangs")

    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _put(kind: str, file: Path) -> None:
    file.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero")


@pytest.fixture
def quick(monkeypatch):
    """Draws no figures, though their data is read, and measures no training speed."""

    def save(figure, folder, name):
        files = folder / f"{name}.svg", folder / f"{name}.png"
        for file in files:
            file.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
        return files

    monkeypatch.setattr("reports.figures.write.save_figure", save)
    monkeypatch.setattr("grid.time_estimate.estimate", lambda plan: SimpleNamespace(text="1 s", missing={}))


def _run_commands(finished, tmp_path, capsys, name, state, kind):
    out = shutil.copytree(finished, tmp_path / "runs")
    (run,) = out.glob("digitslt-*")
    for file in (DONE, WEIGHTS) if state == "unfinished" else ():
        (run / file).unlink()
    _put(kind, run / name)
    for command in (["report"], ["plan", "--methods", "byol", "--probes", "knn", *SMALL]):
        with _limit():
            status = bench.main([*command, "--out", str(out)])
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("bench.py: ")]
        assert (status, len(errors)) in ((0, 0), (2, 1))
        assert all(name in line for line in errors)


@pytest.mark.parametrize("name", FILES)
def test_commands_end_with_one_line_for_a_fifo(finished, tmp_path, capsys, quick, name):
    _run_commands(finished, tmp_path, capsys, name, "done", "fifo")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
@pytest.mark.parametrize("state", ["done", "unfinished"])
@pytest.mark.parametrize("name", [*FILES, CHECKPOINT])
def test_commands_end_with_one_line(finished, tmp_path, capsys, quick, name, state, kind):
    _run_commands(finished, tmp_path, capsys, name, state, kind)


def test_links_to_files_are_read(finished, tmp_path, capsys, quick):
    out = shutil.copytree(finished, tmp_path / "runs")
    (run,) = out.glob("digitslt-*")
    for name in FILES:
        if (run / name).exists():
            (run / name).rename(tmp_path / name)
            (run / name).symlink_to(tmp_path / name)
    assert bench.main(["report", "--out", str(out)]) == 0
    assert "BYOL" in capsys.readouterr().out
