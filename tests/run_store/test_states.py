"""States of runs from the files of their folders, while other processes write them."""

import json
import os

import pytest

from core.errors import UserError
from run_store import lease
from run_store.contents import read_unfinished
from run_store.states import run_state, save_grid, statuses
from tests.runs import small_config
from tests.shared_runs import DONE, make_run


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ((), "NEW"),
        (("config",), "NEW"),
        (("config", "stale"), "NEW"),
        (("config", "fresh"), "RUNNING"),
        (("fresh",), "RUNNING"),
        (("config", "checkpoint"), "RESUMABLE"),
        (("config", "previous"), "RESUMABLE"),
        (("config", "checkpoint", "stale"), "RESUMABLE"),
        (("config", "checkpoint", "fresh"), "RUNNING"),
        (("config", "checkpoint", "error"), "FAILED"),
        (("config", "checkpoint", "error", "fresh"), "RUNNING"),
        (("error",), "FAILED"),
        (("config", "trained", "weights"), "RESUMABLE"),
        (("config", "trained", "weights", "done"), "RESUMABLE"),  # a probe is missing
        (DONE, "DONE"),
        ((*DONE, "fresh"), "DONE"),
        ((*DONE, "error"), "DONE"),
    ],
)
def test_the_state_follows_from_the_files(files, state, tmp_path):
    save_grid(tmp_path, {"run": ["knn"]})
    if files:
        make_run(tmp_path / "run", *files)
    (found,) = statuses(tmp_path)
    assert (found.name, found.state) == ("run", state)
    assert (found.lease is not None) == (state == "RUNNING")
    assert found.reason == ("Diverged: the loss is not finite" if state == "FAILED" else "")
    assert found.seconds == (30.5 if state == "DONE" else None)
    assert run_state(tmp_path / "run", set(files) >= set(DONE)) == state


def test_the_grid_comes_first_then_other_runs(tmp_path):
    save_grid(tmp_path, {"z": ["knn"], "b": []})
    make_run(tmp_path / "z", *DONE)
    make_run(tmp_path / "a", "config", "checkpoint")
    make_run(tmp_path / "tables")
    (make_run(tmp_path / "external") / "config.json").write_text('{"weights": "of a file", "seed": 0}')
    assert [(run.name, run.state) for run in statuses(tmp_path)] == [("z", "DONE"), ("b", "NEW"), ("a", "RESUMABLE")]


DAMAGED_NAMES = ("", ".", "..", "../a", "/a", "a/b", "a\\u0000", "a\\n", "é", 300 * "9")


@pytest.mark.parametrize("runs", ["3", *(f'{{"{name}": []}}' for name in DAMAGED_NAMES)])
def test_a_damaged_list_of_runs_is_one_line(tmp_path, runs):
    (tmp_path / "grid.json").write_text(f'{{"runs": {runs}}}')
    with pytest.raises(UserError, match=r"grid\.json is damaged .*; delete it"):
        statuses(tmp_path)


def test_statuses_of_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    make_run(tmp_path / "run", "config", "fresh")

    def fail(**options):
        raise PermissionError

    monkeypatch.setattr(lease, "TemporaryFile", fail)
    assert statuses(tmp_path)[0].state == "RUNNING"
    os.utime(tmp_path / "run" / "lease.json", (0, 0))
    assert statuses(tmp_path)[0].state == "NEW"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "unknown error"), ("Traceback\n  x\nDiverged: the loss is not finite\n", "Diverged: the loss is not finite")],
)
def test_status_and_report_give_the_same_reason(text, reason, tmp_path):
    """Also for an error file that a full disk has left empty."""
    folder = make_run(tmp_path / "run", "config")
    (folder / "config.json").write_text(json.dumps(small_config("simclr").to_json()))
    (folder / "error.txt").write_text(text)
    (status,) = statuses(tmp_path)
    unfinished = read_unfinished(folder)
    assert (status.state, status.reason) == ("FAILED", reason)
    assert (unfinished.status, unfinished.reason) == ("failed", reason)
