"""Probes on a simulated GPU: features are moved to the CPU, heads are trained on the device."""

from threading import current_thread

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


def test_images_are_read_in_a_thread_and_features_copied_back_while_the_network_computes(tmp_path, monkeypatch):
    monkeypatch.setattr("data.views.evaluation.BATCH", 100)
    done = []
    with fake_cuda() as device, device.waits():
        frozen = _frozen(tmp_path, ("train",))
        backend, forward, event = type(frozen.corpus.backend), FrozenFeatures._forward, torch.cuda.Event
        evaluate, synchronize = backend.evaluate, event.synchronize
        monkeypatch.setattr(backend, "evaluate", lambda *x: done.append(("read", current_thread().name)) or evaluate(*x))
        monkeypatch.setattr(FrozenFeatures, "_forward", lambda *x: done.append(("forward",)) or forward(*x))
        monkeypatch.setattr(event, "synchronize", lambda *x: done.append(("copied",)) or synchronize(*x))
        train = frozen.lists.train[:250]
        device.uploads.clear()
        for draw in range(2):
            frozen.augmented(train, 0, "test", draw)
    assert [what for what in done if what[0] == "read"] == [("read", "prefetch")] * 6
    one_pass = [("forward",), ("forward",), ("copied",), ("forward",), ("copied",), ("copied",)]
    assert [what for what in done if what[0] != "read"] == one_pass * 2
    assert [upload.pinned for upload in device.uploads] == [True] * 6


@pytest.mark.parametrize("name", PROBES.names())
def test_every_probe_runs_with_a_cuda_device(name, tmp_path, monkeypatch):
    monkeypatch.setattr(bcl, "EPOCHS", 3)
    with fake_cuda() as device, device.waits():
        frozen = _frozen(tmp_path, ("train", "val", "pretrain", "fewshot"))
        PROBES[name]().run(frozen, 0)
