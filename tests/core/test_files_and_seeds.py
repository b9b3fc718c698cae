import os

import pytest

from core.errors import UserError
from core.files import append_line, writable_folder, write_atomic, write_text
from core.seeds import seed_of


def test_seeds_are_fixed_distinct_and_in_range():
    # these two values are part of the format: another value would train other weights under the same run id
    assert seed_of(0, "init") == 3912388711783151084
    assert seed_of(0, "views", 3, 0, 7) == 4976663134603958756
    seeds = {seed_of(run, purpose, *place) for run in (0, 1) for purpose in ("a", "b") for place in ((), (0,), (0, 1), (1, 0))}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    file = tmp_path / "x"
    write_text(file, "old")

    def fail(stream):
        stream.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomic(file, fail)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_append_closes_off_a_torn_line(tmp_path):
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
