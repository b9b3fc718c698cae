"""Training does not take more memory with every step."""

import dataclasses
import gc

import pytest
import torch

from benchmarks.memory import bytes_in_use
from methods import METHODS
from methods.simclr import SimCLR
from tests.runs import small_config
from training.loop import train
from training.prepare import prepare

FIRST, STEPS = 32, 200  # steps before the first measurement, after clusterings and samplings, and between both
FREQUENT = {"warmup": "2", "interval": "1", "refresh": "1", "budget": "16"}  # hooks do their work in every epoch
LEAK = 200 * STEPS  # bytes: one empty tensor a step takes twice as much, what varies from step to step a quarter

pytestmark = pytest.mark.skipif(bytes_in_use() is None, reason="needs glibc 2.33")


def _growth(name: str, images, folder) -> int:
    """Growth of the memory in use over STEPS steps, in bytes."""
    has = {field.name for field in dataclasses.fields(METHODS[name].Hparams)}
    hparams = {key: value for key, value in FREQUENT.items() if key in has}
    config = small_config(name, hparams=hparams, epochs=200, batch_size=8)
    training = prepare(config, images, torch.device("cpu"), pool=images.numpy())
    done, measured = 0, {FIRST: 0, FIRST + STEPS: 0}

    def on_step(_: object) -> None:
        nonlocal done
        done += 1
        if done in measured:
            gc.collect()
            measured[done] = bytes_in_use()

    files = folder / "checkpoint.pt", folder / "log.jsonl"
    with pytest.raises(KeyboardInterrupt):
        train(training, *files, on_step, checkpoint_seconds=1e9, stop=lambda: done == FIRST + STEPS)
    return measured[FIRST + STEPS] - measured[FIRST]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS.names())
def test_memory_is_flat(name, photographs, tmp_path):
    assert _growth(name, photographs[:64], tmp_path) < LEAK


@pytest.mark.parametrize("leak", ["list", "graph"])
def test_a_leak_is_found(leak, photographs, tmp_path, monkeypatch):
    original = SimCLR.loss
    kept = [torch.zeros(())]

    def loss(self, batch):
        output = original(self, batch)
        if leak == "list":
            kept.append(output.loss.detach())
        else:
            kept[0] = kept[0] + self.projector[0].bias[0]  # one tensor, with a longer graph after every step
        return output

    monkeypatch.setattr(SimCLR, "loss", loss)
    assert _growth("simclr", photographs[:64], tmp_path) > 1.5 * LEAK
