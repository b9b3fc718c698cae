from dataclasses import replace

import numpy as np
import pytest
from torch import nn
from torch.optim import SGD

from core.errors import UserError
from data.benchmark import BENCHMARKS, Source
from data.passport import passport_of
from run_store.folder import TrainingFacts, folder_of
from run_store.layout import CHECKPOINT, PASSPORT, PREVIOUS_CHECKPOINT
from run_store.lease import Busy
from run_store.loading import load_trained_backbone
from run_store.passport import OLD_PASSPORT
from tests.runs import small_config
from training.checkpoint import Progress, previous_checkpoint
from training.checkpoint_writer import CheckpointWriter
from training.device import CPU
from training.prepare import build_method


@pytest.fixture
def folder(tmp_path):
    run = folder_of(tmp_path, small_config("simclr"))
    run.create()
    run.begin(passport())
    return run


def passport(name="digits"):
    digits = BENCHMARKS["digitslt"]()
    images = digits.load(None)
    lists = digits.lists(images.train_labels, "own", 1)
    return passport_of(digits, "own", 1, images.train_labels, lists, Source(name, "sha256 0000"))


def _save_checkpoint(folder):
    state = nn.Linear(1, 1)
    with CheckpointWriter(folder.checkpoint, folder.config.run_id, state, SGD(state.parameters()), CPU) as writer:
        writer.save(Progress())


def test_a_run_goes_from_new_to_resumable_to_done(folder):
    assert folder.state([]) == "NEW"
    folder.checkpoint.write_bytes(b"x")
    assert folder.state([]) == "DAMAGED"
    _save_checkpoint(folder)
    assert folder.state([]) == "RESUMABLE"
    folder.checkpoint.write_bytes(b"x")
    assert folder.state([]) == "DAMAGED"  # as is the one before it
    _save_checkpoint(folder)
    _save_checkpoint(folder)
    folder.checkpoint.write_bytes(b"x")
    assert folder.state([]) == "RESUMABLE"  # from the one before it
    folder.save_trained(build_method(folder.config, 8), TrainingFacts(1.0, 8, None, "cpu"))
    assert not folder.checkpoint.exists()
    assert folder.state([]) == "RESUMABLE"  # trained, but not marked as done
    folder.finish()
    assert folder.state([]) == "DONE"
    assert folder.state(["knn"]) == "RESUMABLE"  # another probe is requested


def test_incomplete_files_are_removed(folder):
    leftover = folder.path / ".checkpoint.pt.abc.part"
    leftover.write_bytes(b"half")
    folder.begin(passport())
    assert not leftover.exists()


def test_a_run_does_not_resume_on_other_data(folder):
    other = replace(passport(), source=Source("other digits", "sha256 1111"))
    folder.begin(other)  # nothing is trained yet
    folder.save_trained(build_method(folder.config, 8), TrainingFacts(1.0, 8, None, "cpu"))
    folder.begin(other)
    with pytest.raises(UserError, match=r"was trained or probed on other data .* than the current: digitslt .*delete"):
        folder.begin(passport())


def test_index_lists_of_probes_may_change(folder):
    folder.save_trained(build_method(folder.config, 8), TrainingFacts(1.0, 8, None, "cpu"))
    probed = replace(passport(), lists={**passport().lists, "val": (1, "0" * 64)})
    folder.begin(probed)
    assert folder.passport() == probed
    folder.begin(passport())
    with pytest.raises(UserError, match="was trained or probed on other data"):
        folder.begin(replace(passport(), lists={**passport().lists, "pretrain": (1, "0" * 64)}))


def test_a_passport_of_an_earlier_version_is_upgraded_for_the_same_data(folder):
    """Earlier versions wrote the text of the passport in place of `passport.json`."""
    folder.save_trained(build_method(folder.config, 8), TrainingFacts(1.0, 8, None, "cpu"))
    (folder.path / PASSPORT).unlink()
    (folder.path / OLD_PASSPORT).write_text(passport().text() + "\n")
    with pytest.raises(UserError, match=r"was written by an earlier version of this suite, .* repeat its `run` command"):
        folder.passport()
    with pytest.raises(UserError, match=f"earlier version on other data .passport {passport().short}. than the current"):
        folder.begin(replace(passport(), lists={**passport().lists, "val": (1, "0" * 64)}))
    folder.begin(passport())
    assert folder.passport() == passport()


def test_saved_weights_are_bit_identical(folder):
    method = build_method(folder.config, 8)
    folder.save_trained(method, TrainingFacts(1.0, 8, None, "cpu"))
    other = build_method(small_config("simclr", seed=1), 8)
    folder.load_weights(other)
    assert all((a == b).all() for a, b in zip(method.state_dict().values(), other.state_dict().values(), strict=True))
    with pytest.raises(UserError, match="is damaged or of another network"):
        folder.load_weights(build_method(small_config("simclr", hparams={"out_dim": 7}), 8))


def test_a_flipped_bit_of_the_weights_is_an_error(folder):
    """Anywhere in the file, also in the exponent of a weight, which leaves a valid file."""
    folder.save_trained(build_method(folder.config, 8), TrainingFacts(1.0, 8, None, "cpu"))
    content = folder.weights.read_bytes()
    for place in np.linspace(0, len(content) - 1, 25).astype(int):
        flipped = bytearray(content)
        flipped[place] ^= 64
        folder.weights.write_bytes(flipped)
        with pytest.raises(UserError, match="is damaged or of another network"):
            folder.load_weights(build_method(folder.config, 8))
        with pytest.raises(UserError, match="is damaged or of another network"):
            load_trained_backbone(folder)
    folder.weights.write_bytes(content)
    folder.load_weights(build_method(folder.config, 8))


def test_the_name_of_the_checkpoint_before_the_last_one(tmp_path):
    assert previous_checkpoint(tmp_path / CHECKPOINT) == tmp_path / PREVIOUS_CHECKPOINT


def test_the_lock_is_exclusive_and_released(folder):
    with folder.lock(), pytest.raises(Busy, match=r"another process, .*:\d+, uses"), folder.lock():
        pass
    with folder.lock():
        pass


@pytest.mark.parametrize(
    ("file", "content", "read"),
    [
        ("training.json", b'{"seconds": 1.0, "ima', lambda run: run.training_facts()),
        ("log.jsonl", b'{"epoch": 1}\n\0\0\0\0', lambda run: run.last_epoch()),
        ("passport.json", b"\xff\xfe", lambda run: run.passport()),
        ("passport.json", b"[]", lambda run: run.passport()),
    ],
)
def test_errors_name_the_damaged_file(folder, file, content, read):
    (folder.path / file).write_bytes(content)
    with pytest.raises(UserError, match=rf"{file} is damaged"):
        read(folder)
