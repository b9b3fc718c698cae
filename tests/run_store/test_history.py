import json
import logging

import numpy as np
import pytest

from core.errors import UserError
from run_store.history import GROUPS, LOG, read_histories, read_history

LINE = {"epoch": 1, "loss": 2.5, "lr": 0.1, "view_px": 16, "images_per_second": 900.0, "tail": {"auroc": 0.6, "spearman": 0.1}}
SAMPLING = {"images": [10, 20], "few": [0.5, 0.0], "sampled": [7, 3], "tailness": [0.7, -0.7]}


def _folder(tmp_path, *lines, name="cifar10lt-simclr-split1-seed0-abc123"):
    folder = tmp_path / name
    folder.mkdir()
    (folder / LOG).write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return folder


def test_columns_equal_the_log(tmp_path):
    history = read_history(_folder(tmp_path, LINE, LINE | {"epoch": 2, "loss": 2.0, "tail": {"auroc": None, "spearman": None}}))
    assert (history.run_id, history.damaged) == ("abc123", 0)
    assert history.epoch.tolist() == [1, 2]
    assert history.loss.tolist() == [2.5, 2.0]
    assert history.auroc[0] == 0.6
    assert np.isnan(history.auroc[1])
    assert history.sampling is None
    assert not history.groups


@pytest.mark.parametrize(
    "damaged",
    [
        '{"epoch": 2, "loss": 1.',
        "[1, 2]",
        "null",
        '"\\ud800"',
        "1e999",
        "[" * 20_000,
        '{"epoch": ' + "9" * 5000 + "}",
        LINE | {"epoch": 0},
        LINE | {"epoch": 2**80},
        LINE | {"epoch": True},
        LINE | {"epoch": "2"},
        LINE | {"loss": "low"},
        LINE | {"lr": [1]},
        LINE | {"tail": {"auroc": {}}},
        LINE | {"temperature": {"many": "1", "medium": 1, "few": 1}},
        LINE | {"sampling": {name: values for name, values in SAMPLING.items() if name != "few"}},
        LINE | {"sampling": SAMPLING | {"few": [0.5]}},
        LINE | {"sampling": 3},
    ],
)
def test_damaged_lines_are_skipped_and_counted(tmp_path, damaged, caplog):
    with caplog.at_level(logging.WARNING):
        (history,) = read_histories([_folder(tmp_path, LINE, damaged, LINE | {"epoch": 3, "loss": 1.0})])
    assert history.damaged == 1
    assert history.loss.tolist() == [2.5, 1.0]
    skipped, missing = caplog.messages
    assert "1 damaged" in skipped
    assert "log.jsonl lacks 1 epoch, the first is 2" in missing


def test_the_last_line_of_a_repeated_epoch_is_used(tmp_path):
    history = read_history(_folder(tmp_path, LINE | {"epoch": 2}, LINE, LINE | {"epoch": 2, "loss": 9.0}))
    assert history.epoch.tolist() == [1, 2]
    assert history.loss.tolist() == [2.5, 9.0]


def test_group_means_are_nan_where_a_line_has_none(tmp_path):
    of = {"many": 0.3, "medium": 0.2, "few": None}
    history = read_history(_folder(tmp_path, LINE, LINE | {"epoch": 2, "temperature": of, "clusters": {"number": 10}}))
    assert set(history.groups) == {"temperature"}
    assert history.groups["temperature"].shape == (2, len(GROUPS))
    assert np.isnan(history.groups["temperature"]).tolist() == [[True] * 3, [False, False, True]]


def test_the_last_sampling_is_kept(tmp_path):
    later = SAMPLING | {"sampled": [8, 2]}
    lines = [LINE | {"sampling": SAMPLING}, LINE | {"epoch": 2, "sampling": later}, LINE | {"epoch": 3}]
    assert read_history(_folder(tmp_path, *lines)).sampling.sampled.tolist() == [8, 2]


def test_a_run_without_a_log_has_no_epochs(tmp_path):
    assert len(read_history(tmp_path / "nothing-here").epoch) == 0
    assert read_histories([tmp_path / "nothing-here"]) == []


def test_an_unreadable_log_is_an_error(tmp_path):
    (tmp_path / LOG).mkdir()
    with pytest.raises(UserError, match=LOG):
        read_history(tmp_path)
