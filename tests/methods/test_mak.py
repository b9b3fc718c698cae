from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from backbones.corpus import Corpus
from core.errors import UserError
from core.seeds import seed_of
from data.loader import Batch
from methods import mak
from methods.selection import expected_contrastive_loss
from tests.runs import small_config
from training.loop import batches, start_epoch, train
from training.prepare import build_method, check_pool_size, prepare

BUDGET, POOL, INFERENCES = 40, 70, 3


@pytest.fixture(scope="module")
def pool():
    return np.random.RandomState(0).randint(0, 256, (POOL, 3, 32, 32), dtype=np.uint8)


def _training(images, pool, epochs=4, **hparams):
    hparams = {"budget": str(BUDGET), "inferences": str(INFERENCES), "clusters": "5"} | hparams
    return prepare(small_config("mak", epochs=epochs, hparams=hparams), images, torch.device("cpu"), pool=pool)


def test_it_samples_once_and_then_trains_on_both(photographs, pool, tmp_path, monkeypatch):
    training = _training(photographs, pool)
    outside, steps, selected, loss = Counter(), Counter(), [], type(training.method).loss

    def counting(self, batch):
        outside[batch.epoch] += int((batch.index == -1).sum())
        selected.append(self.selected.clone())
        return loss(self, batch)

    monkeypatch.setattr(type(training.method), "loss", counting)
    progress = train(training, tmp_path / "c", tmp_path / "l", lambda report: steps.update([report.epoch]), 1e9)
    assert [outside[epoch] for epoch in range(4)] == [0, 0, BUDGET, BUDGET]
    assert training.steps_before == [0, 8, 16, 26, 36]
    assert progress.images == 4 * 256 + 2 * BUDGET
    assert len({tuple(positions.tolist()) for positions in selected}) == 2  # before the sampling and after it
    chosen = training.method.selected
    assert chosen.unique().numel() == BUDGET
    assert 0 <= chosen.min() <= chosen.max() < POOL


def test_the_selection_follows_losses_distances_and_k_center(photographs, pool, monkeypatch):
    """From the definition, with the same random views, on one batch of the whole pool."""
    monkeypatch.setattr(mak, "REPEATS", 1)
    training = _training(photographs, pool, warmup="0")
    method, corpus = training.method, training.corpus
    start_epoch(training, 0)
    method.eval()
    torch.manual_seed(seed_of(0, "epoch", 0))
    order = torch.randperm(POOL)
    seeds = torch.randint(2**31, (INFERENCES,)).tolist()
    with torch.no_grad():
        shuffled = pool[order.numpy()]
        z = [torch.cat(list(corpus.embed(method.project, shuffled, augmented=s, weak=False))) for s in seeds]
        losses = torch.zeros(POOL)
        losses[order] = expected_contrastive_loss(torch.stack(z), 0.2)
        x, ood = (F.normalize(torch.cat(list(corpus.embed(method.backbone, of))), dim=1) for of in (photographs, pool))
    _, centers = mak.spherical_kmeans(x, 5, 10)
    distances = 1 - (ood @ centers.T).max(dim=1).values
    score = 0.5 * (losses - losses.mean()) / losses.std(correction=0)
    score -= 0.5 * (distances - distances.mean()) / distances.std(correction=0)
    best = score.argsort(descending=True)[: int(1.5 * BUDGET)]
    assert set(method.selected.tolist()) <= set(best.tolist())
    first = best[(ood[best] @ x.T).max(dim=1).values.argmin()]
    assert method.selected[0] == first
    similarity = torch.cat([ood[best] @ x.T, ood[best] @ ood[method.selected].T], dim=1)
    for step, position in enumerate(method.selected.tolist()):
        nearest = similarity[:, : len(x) + step].max(dim=1).values
        left = torch.tensor([p not in method.selected[:step].tolist() for p in best.tolist()])
        assert nearest[best == position].item() <= nearest[left].min().item() + 1e-5


def test_its_loss_is_simclrs_also_with_ood_images():
    ours = build_method(small_config("mak", epochs=4), 20).train()
    simclr = build_method(small_config("simclr", epochs=4), 20).train()
    views, index = (torch.randn(8, 3, 16, 16), torch.randn(8, 3, 16, 16)), torch.tensor([0, -1, 2, -1, -1, 5, 6, 7])
    outputs = [method.loss(Batch(views, index, 3)) for method in (ours, simclr)]
    assert torch.equal(*(output.loss for output in outputs))
    assert torch.equal(*(output.scores for output in outputs))


def test_cost_is_linear_in_the_pool_and_memory_is_bounded(photographs, monkeypatch):
    """The network sees an image of the pool once, and once per augmentation; at most a part of the pool is in memory."""
    monkeypatch.setattr(mak, "PART", 64)
    monkeypatch.setattr(mak, "BATCH", 16)
    for size in (100, 200, 400):
        training = _training(photographs, np.random.RandomState(0).randint(0, 256, (size, 3, 32, 32), dtype=np.uint8))
        embedded, taken, compared = [], [], []

        def embed(self, network, images, *, embedded=embedded, original=Corpus.embed, **given):
            embedded.append(len(images))
            return original(self, network, images, **given)

        def take(self, selected, *, taken=taken, original=Corpus.take):
            taken.append(len(selected))
            return original(self, selected)

        def loss(z, tau, compared=compared):
            compared.append(z.shape[1])
            return torch.zeros(z.shape[1])

        with monkeypatch.context() as patch:
            patch.setattr(Corpus, "embed", embed)
            patch.setattr(Corpus, "take", take)
            patch.setattr("methods.selection.expected_contrastive_loss", loss)
            start_epoch(training, 2)
        assert sum(embedded) == 256 + (1 + INFERENCES) * size + 1.5 * BUDGET
        *parts, candidates = taken
        assert (sum(parts), candidates) == (size, 1.5 * BUDGET)
        assert max(parts) <= 64
        assert max(compared) == 16
        assert len(compared) <= mak.REPEATS * (size / 16 + len(parts))


def test_the_pools_views_are_those_of_training_and_reproducible(photographs, pool):
    corpus = _training(photographs, pool).corpus
    first, again, other, weak = (
        torch.cat(list(corpus.embed(torch.nn.Flatten(), pool, augmented=seed, weak=weak)))
        for seed, weak in ((1, False), (1, False), (2, False), (1, True))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == weak.shape == (POOL, 3 * 32 * 32)
    expected, _ = corpus.backend(torch.from_numpy(pool), seed_of(1, "batch", 0), 32)
    assert torch.equal(first, expected.flatten(1))


def test_a_small_pool_is_enough_for_its_budget_only():
    config = small_config("mak", epochs=4, hparams={"budget": "71"})
    check_pool_size(config, 71)
    with pytest.raises(UserError, match=r"mak samples 71 images, but its OOD pool has 70; lower mak\.budget"):
        check_pool_size(config, 70)
    with pytest.raises(UserError, match=r"mak\.warmup=4 is as long as the run of 4 epochs, or longer"):
        build_method(small_config("mak", epochs=4, hparams={"warmup": "4"}), 20)


def test_the_whole_pool_can_be_the_budget(photographs, pool):
    training = _training(photographs, pool, budget=str(POOL), warmup="0")
    start_epoch(training, 0)
    assert sorted(training.method.selected.tolist()) == list(range(POOL))
    assert sum(int((batch.index == -1).sum()) for batch in batches(training, 0)) == POOL


def test_a_run_without_a_pool_is_refused(photographs):
    training = prepare(small_config("mak", epochs=4, hparams={"warmup": "0"}), photographs, torch.device("cpu"))
    with pytest.raises(ValueError, match="MAK needs a pool"):
        start_epoch(training, 0)
