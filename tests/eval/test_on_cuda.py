"""Probes on a simulated GPU: features are moved to the CPU, heads are trained on the device."""

import pytest
import torch

from data.benchmark import BENCHMARKS
from data.split import Split
from eval.features import FrozenFeatures
from eval.probes import PROBES, bcl
from tests.fake_cuda import fake_cuda
from tests.runs import small_config
from training.prepare import prepare


def _frozen(data_root, needs) -> FrozenFeatures:
    """Features of Digits-LT under a small network; call within `fake_cuda`."""
    benchmark = BENCHMARKS["digitslt"]()
    split = Split.of(benchmark, benchmark.load(data_root), "own", 1)
    training = prepare(small_config("simclr"), split.pretrain_images, torch.device("cuda"))
    return FrozenFeatures(training.method.backbone, split, training.corpus, needs)


def test_features_are_on_the_cpu(tmp_path):
    with fake_cuda() as device, device.waits():
        frozen = _frozen(tmp_path, ("train", "val"))
        train = frozen.lists.train
        rows, augmented = frozen.unaugmented(train), frozen.augmented(train, 0, "test")
        streamed = list(frozen.augmented_batches(train, 0, 16))
    assert frozen.device.type == "cuda"
    for x, y in (rows[:], frozen.test[:], augmented[:], *streamed):
        assert {x.device.type, y.device.type} == {"cpu"}
    assert rows[:][0].isfinite().all()
    assert frozen.test.bank.shape == (len(frozen.images.test), rows.bank.shape[1])


@pytest.mark.parametrize("name", PROBES.names())
def test_every_probe_runs_with_a_cuda_device(name, tmp_path, monkeypatch):
    monkeypatch.setattr(bcl, "EPOCHS", 3)
    with fake_cuda() as device, device.waits():
        frozen = _frozen(tmp_path, ("train", "val", "pretrain", "fewshot"))
        PROBES[name]().run(frozen, 0)
