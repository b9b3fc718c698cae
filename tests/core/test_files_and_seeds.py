import os
import shutil
import subprocess
import sys

import pytest

from core.errors import UserError
from core.files import append_line, new_folder, remove_unfinished, rename, writable_folder, write_atomic, write_text
from core.seeds import seed_of
from tests.conftest import DEADLINE, ROOT


def test_seeds_are_fixed_distinct_and_in_range():
    # these two values are part of the format: another value would train other weights under the same run id
    assert seed_of(0, "init") == 3912388711783151084
    assert seed_of(0, "views", 3, 0, 7) == 4976663134603958756
    seeds = {seed_of(run, purpose, *place) for run in (0, 1) for purpose in ("a", "b") for place in ((), (0,), (0, 1), (1, 0))}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_failed_write_keeps_the_old_file_and_no_temporary_file(tmp_path):
    file = tmp_path / "x"
    write_text(file, "old")

    def fail(stream):
        stream.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomic(file, fail)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_append_terminates_an_incomplete_line(tmp_path):
    file = tmp_path / "x.jsonl"
    append_line(file, "one")
    with file.open("a") as stream:
        stream.write('{"torn": ')
    append_line(file, "two")
    assert file.read_text().splitlines() == ["one", '{"torn": ', "two"]


def test_a_folder_that_cannot_be_written_names_the_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another folder with --out"):
        writable_folder(tmp_path / "file" / "runs", "--out")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o000])
def test_files_and_folders_honour_the_umask(umask, tmp_path):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "text", "x")
        append_line(tmp_path / "lines", "x")
        with new_folder(tmp_path / "folder") as folder:
            write_text(folder / "text", "x")
        writable_folder(tmp_path / "a" / "b", "--out")
    finally:
        os.umask(before)
    modes = {path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    files, folders = 0o666 & ~umask, 0o777 & ~umask
    assert modes == {"text": files, "lines": files, "folder": folders, "folder/text": files, "a": folders, "a/b": folders}


WRITER = """
import sys
from pathlib import Path
from core.files import new_folder, write_atomic

def wait(*_):
    print("writing", flush=True)
    sys.stdin.read()

folder = Path(sys.argv[1])
if sys.argv[2] == "file":
    write_atomic(folder / "x.csv", wait)
else:
    with new_folder(folder / "x.csv"):
        wait()
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_unfinished_files_of_killed_processes_are_removed_and_those_of_living_ones_are_not(kind, tmp_path):
    start = [sys.executable, "-c", WRITER, str(tmp_path), kind]
    writer = subprocess.Popen(start, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"writing\n"
    (unfinished,) = tmp_path.iterdir()
    (tmp_path / ".x.csv.0a1b2c3d.part").write_text("of an earlier version")
    (tmp_path / ".y.csv.0a1b2c3d.part").write_text("another file")
    (tmp_path / "kept.part").write_text("no unfinished file")
    remove_unfinished(tmp_path, "x.csv")
    assert {path.name for path in tmp_path.iterdir()} == {unfinished.name, ".y.csv.0a1b2c3d.part", "kept.part"}
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {unfinished.name, "kept.part"}
    writer.kill()
    writer.communicate(timeout=DEADLINE)
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.part"]


def test_a_file_can_be_written_while_others_are_cleared(tmp_path):
    """Also by another thread of the process: the lock belongs to the open file."""

    def write(file):
        remove_unfinished(tmp_path)
        file.write(b"x")

    write_atomic(tmp_path / "a", write)
    with new_folder(tmp_path / "b"):
        remove_unfinished(tmp_path)
    assert (tmp_path / "a").read_text() == "x"
    assert (tmp_path / "b").is_dir()


def test_a_file_system_without_locks_is_written_but_not_cleared(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    write_text(tmp_path / "a", "x")
    (tmp_path / ".a.0a1b2c3d.part").write_text("")
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", ".a.0a1b2c3d.part"}


def _write_folder(path):
    with new_folder(path):
        pass


@pytest.mark.parametrize("gone", ["runs", "runs/run"])
@pytest.mark.parametrize(
    "write",
    [
        lambda path, remove: (remove(), write_text(path, "x")),
        lambda path, remove: (remove(), append_line(path, "x")),
        lambda path, remove: (remove(), rename(path, path.with_name("y"))),
        lambda path, remove: (remove(), _write_folder(path)),
        lambda path, remove: write_atomic(path, lambda file: remove()),  # while the file is written
    ],
    ids=["write", "append", "rename", "folder", "while writing"],
)
def test_a_removed_folder_is_named(write, gone, tmp_path):
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match=f"folder {tmp_path / gone} was removed during the run; repeat the command"):
        write(folder / "x", lambda: shutil.rmtree(tmp_path / gone))
