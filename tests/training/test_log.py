"""The log of a run that resumes."""

import json
import logging

import pytest

from core.errors import UserError
from training.log import append_epoch, resume_log


@pytest.mark.parametrize(
    ("written", "completed", "kept", "message"),
    [
        ([1, 2, 3], 3, [1, 2, 3], None),
        ([1, 2, 3, 4, 5], 3, [1, 2, 3], None),  # epochs after the checkpoint are repeated
        ([], 0, [], None),
        ([1, 2], 0, [], None),
        ([1, 3, 4, 6], 5, [1, 3, 4], "lacks epochs (2, 5) of the 5 that are completed"),
        ([1, 5], 5, [1, 5], "lacks epochs (2-4) of the 5"),
        ([], 3, [], "lacks epochs (1-3) of the 3"),
        ([1, "{", 3], 3, [1, 3], "lacks epochs (2) of the 3"),
        ([1, '{"epoch": NaN}', "[" * 200_000, "\xff", '{"loss": 1}', 2], 2, [1, 2], None),
        ([2, 1, 3], 3, [1, 2, 3], "repeats epochs or has them in another order"),
        ([1, 1, 2], 2, [1, 2], "repeats epochs or has them in another order"),
    ],
)
def test_lost_epochs_are_named_in_one_warning(tmp_path, caplog, written, completed, kept, message):
    file = tmp_path / "log.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps({'epoch': line})}\n" for line in written))
    with caplog.at_level(logging.WARNING):
        resume_log(file, completed)
    assert [json.loads(line)["epoch"] for line in file.read_text().splitlines()] == kept
    assert len(caplog.messages) == (message is not None)
    assert all(message in text and str(file) in text for text in caplog.messages)


def test_lines_are_appended_to_a_resumed_log(tmp_path):
    file = tmp_path / "log.jsonl"
    resume_log(file, 0)
    append_epoch(file, {"epoch": 1, "loss": float("nan")})
    append_epoch(file, {"epoch": 2, "loss": 0.5})
    resume_log(file, 2)
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"epoch": 1, "loss": None},
        {"epoch": 2, "loss": 0.5},
    ]


def test_a_log_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        resume_log(tmp_path, 1)
