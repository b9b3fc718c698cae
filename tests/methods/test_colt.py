import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from core.errors import UserError
from data.loader import Batch
from data.views.torch_backend import TorchViews
from methods.colt import cluster_budgets, confusion, distribution_loss, nearest_to_centers
from methods.losses import log_probabilities, nt_xent, nt_xent_of
from run_store.folder import TrainingFacts, folder_of
from tests.runs import small_config
from training.loop import batches, start_epoch, train
from training.prepare import build_method, check_pool_size, prepare

BUDGET = 40
B = 6


@pytest.fixture(scope="module")
def pool():
    return np.random.RandomState(0).randint(0, 256, (70, 3, 32, 32), dtype=np.uint8)


def _training(name, images, pool, epochs=4, **hparams):
    hparams = {"budget": str(BUDGET), "warmup": "50%", "interval": "1", "clusters": "5"} | hparams
    return prepare(small_config(name, epochs=epochs, hparams=hparams), images, torch.device("cpu"), pool=pool)


def _embeddings(count=B, seed=0):
    torch.manual_seed(seed)
    return [torch.randn(count, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]


@pytest.mark.parametrize("case", range(3))
def test_terms_equal_the_reference(golden, case):
    def given(key):
        return golden[f"colt{case}_{key}"]

    z1, z2 = (torch.tensor(given(f"z{view}"), requires_grad=True) for view in (1, 2))
    tau, alpha = (round(float(given(key)), 6) for key in ("tau", "alpha"))  # stored in float32
    similarity, log_p = log_probabilities(z1, z2, tau)
    losses = nt_xent_of(log_p)
    loss = losses.mean() + alpha * distribution_loss(similarity, log_p, torch.from_numpy(given("is_ood")))
    loss.backward()
    # float64, but for the weights of the distribution term's pairs, which the reference holds in float32
    assert abs(loss.item() - given("loss")) < 1e-7
    assert np.abs(losses.detach().numpy() - given("nt_xent_per_sample")).max() < 1e-12
    assert np.abs(confusion(log_p, int(given("topk"))).numpy() - given("confusion_score")).max() < 1e-12
    assert np.abs(z1.grad.numpy() - given("grad1")).max() < 1e-8
    assert np.abs(z2.grad.numpy() - given("grad2")).max() < 1e-8


@pytest.mark.parametrize("ood", [[0, 0, 0, 1, 0, 1], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
@pytest.mark.parametrize("denominator", ["all", "cross_domain", "all, of the other view"])
def test_distribution_term_equals_a_loop_written_from_the_formula(ood, denominator):
    """`all, of the other view` is the released code's form: similarities are symmetric, so it sums up to the same."""
    z1, z2 = (v.detach() for v in _embeddings())
    tau, z, domain = 0.3, [F.normalize(v, dim=0) for v in (*z1, *z2)], [*ood, *ood]
    e = [[math.exp(a @ b / tau) for b in z] for a in z]
    views = range(2 * B)
    total = 0.0
    for i in views:
        same = [j for j in views if j != i and domain[j] == domain[i]]
        for j in same:
            if denominator == "cross_domain":
                below = e[i][j] + sum(e[i][k] for k in views if domain[k] != domain[i])
            else:
                anchor = i if denominator == "all" else j
                below = sum(e[anchor][k] for k in views if k != anchor)
            total -= math.log(e[i][j] / below) / len(same) / (2 * B)
    is_ood = torch.tensor(ood, dtype=torch.bool)
    found = distribution_loss(*log_probabilities(z1, z2, tau), is_ood, denominator.split(",")[0])
    assert found.item() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("k", [1, 3, 2 * B - 2, 100])
def test_confusion_equals_a_loop_written_from_the_formula(k):
    z1, z2 = (v.detach() for v in _embeddings())
    z, tau = [F.normalize(v, dim=0) for v in (*z1, *z2)], 0.3
    p = [[math.exp(a @ b / tau) if a is not b else 0.0 for b in z] for a in z]
    p = [[x / sum(row) for x in row] for row in p]
    expected = [
        sum(sorted(((p[i][j] + p[i + B][j]) / 2 for j in range(2 * B) if j not in (i, i + B)), reverse=True)[:k])
        for i in range(B)
    ]
    found = confusion(log_probabilities(z1.requires_grad_(), z2, tau)[1], k)
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert not found.requires_grad


@pytest.mark.parametrize("denominator", ["all", "cross_domain"])
def test_a_batch_without_ood_images_has_no_distribution_term(denominator):
    z1, z2 = _embeddings()
    similarity, log_p = log_probabilities(z1, z2, 0.2)
    loss, term = nt_xent_of(log_p).mean(), distribution_loss(similarity, log_p, torch.zeros(B, dtype=torch.bool), denominator)
    assert term == 0
    plain, with_term = (torch.autograd.grad(x, z1, retain_graph=True)[0] for x in (loss, loss + term))
    assert torch.equal(plain, with_term)  # and above all no NaN


def test_sampling_is_the_references(golden):
    score, labels, ood, centers = (
        torch.from_numpy(golden[f"samp_{key}"]) for key in ("score", "labels", "ood_features", "centers")
    )
    budgets = cluster_budgets(score, labels, 6, int(golden["samp_budget"]), float(golden["samp_cluster_temperature"]))
    assert np.array_equal(budgets.numpy(), golden["samp_cluster_budget"])
    assert np.array_equal(nearest_to_centers(ood @ centers.T, budgets).numpy(), golden["samp_selected"])


@pytest.mark.parametrize("seed", range(5))
def test_sampling_equals_a_loop_written_from_the_formula(seed):
    torch.manual_seed(seed)
    C, K, tau_c = 4, 37, 0.7
    confusion, labels, likeness = torch.rand(50, dtype=torch.float64), torch.randint(C, (50,)), torch.randn(60, C)
    means = [confusion[labels == c].mean().item() for c in range(C)]
    centre = sum(means) / C
    spread = math.sqrt(sum((m - centre) ** 2 for m in means) / (C - 1))
    e = [math.exp(-(m - centre) / spread / tau_c) for m in means]
    expected = [math.floor(x / sum(e) * K) for x in e]
    expected[-1] += K - sum(expected)
    budgets = cluster_budgets(confusion, labels, C, K, tau_c)
    assert budgets.tolist() == expected
    taken: list[int] = []
    for c in range(C):
        nearest = sorted((i for i in range(60) if i not in taken), key=lambda i: -likeness[i, c])
        taken += nearest[: expected[c]]
    assert nearest_to_centers(likeness.clone(), budgets).tolist() == taken


def test_budgets_sum_up_for_equal_confusion_and_for_one_cluster():
    assert cluster_budgets(torch.zeros(9), torch.arange(9) % 4, 4, 10, 1.0).tolist() == [2, 2, 2, 4]
    assert cluster_budgets(torch.rand(9), torch.zeros(9, dtype=torch.int64), 1, 10, 1.0).tolist() == [10]


@pytest.mark.parametrize(("epoch", "alpha"), [(0, "0.2"), (3, "0")])  # before the warm-up's end, and without the term
def test_without_its_extra_it_is_simclr(epoch, alpha):
    colt = build_method(small_config("colt", epochs=4, hparams={"alpha": alpha}), 20).train()
    simclr = build_method(small_config("simclr", epochs=4), 20).train()
    index = torch.arange(8) if epoch == 0 else torch.tensor([0, -1, 2, -1, -1, 5, 6, 7])
    views = torch.randn(8, 3, 16, 16), torch.randn(8, 3, 16, 16)
    for method in (colt, simclr):
        method.loss(Batch(views, index, epoch)).loss.backward()
    assert torch.equal(*(method.loss(Batch(views, index, epoch)).loss for method in (colt, simclr)))
    for a, b in zip(colt.parameters(), simclr.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)


def test_only_images_of_the_set_are_stored():
    method = build_method(small_config("colt", epochs=1, hparams={"warmup": "0"}), 20).train()
    views = torch.randn(8, 3, 16, 16), torch.randn(8, 3, 16, 16)
    index = torch.tensor([4, -1, 2, -1, -1, 11, 6, 7])
    output = method.loss(Batch(views, index))
    with torch.no_grad():
        z1, z2 = method.encode(views)
        similarity, log_p = log_probabilities(z1, z2, 0.2)
        expected = nt_xent(z1, z2, 0.2).mean() + 0.2 * distribution_loss(similarity, log_p, index < 0)
    assert method.memory.seen.nonzero().flatten().tolist() == [2, 4, 6, 7, 11]
    assert torch.allclose(method.memory[index], torch.where(index < 0, 0, confusion(log_p, 10)), atol=1e-6)
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert torch.equal(output.scores, -method.memory[index])


def test_sampling_takes_the_pools_nearest_images_once_each(photographs, pool):
    training = _training("colt", photographs, pool, warmup="0")
    method = training.method
    method.memory.update(torch.arange(256), torch.rand(256))
    start_epoch(training, 0)
    assert method.selected.unique().numel() == BUDGET
    assert method.selected.min() >= 0
    assert method.selected.max() < len(pool)
    with torch.no_grad():
        x, ood = (F.normalize(torch.cat(list(training.corpus.embed(method.project, of))), dim=1) for of in (photographs, pool))
    centers = F.normalize(torch.stack([x[method.cluster == c].mean(dim=0) for c in range(5)]), dim=1)
    budgets = cluster_budgets(method.memory.all(), method.cluster, 5, BUDGET, 1.0)
    likeness, start = ood @ centers.T, 0
    for c, budget in enumerate(budgets.tolist()):
        chosen, left = method.selected[start : start + budget], torch.ones(len(pool), dtype=torch.bool)
        left[method.selected[: start + budget]] = False
        assert likeness[chosen, c].min() >= likeness[left, c].max() - 1e-5
        start += budget
    state = method.sample_state()
    assert torch.equal(state["cluster"], method.cluster)
    assert torch.equal(state["sampled"], budgets[method.cluster])
    average = method.memory.all()
    means = torch.stack([average[method.cluster == c].mean() for c in range(5)])
    assert torch.equal(method.tailness[:5].argsort(descending=True), means.argsort())  # low confusion is the tail
    assert torch.equal(state["tailness"], method.tailness[method.cluster])


def test_weights_without_what_analysis_keeps_still_load(photographs, pool):
    method = _training("colt", photographs, pool, warmup="0").method
    state = {name: values for name, values in method.state_dict().items() if name not in ("sampled", "tailness")}
    method.load_state_dict(state, strict=True)


def test_epochs_grow_after_the_warm_up_and_sampling_is_renewed(photographs, pool, tmp_path, monkeypatch):
    training = _training("colt", photographs, pool, epochs=6, warmup="2", interval="3")
    sampled, outside, steps, loss = [], Counter(), Counter(), type(training.method).loss

    def counting(self, batch):
        outside[batch.epoch] += int((batch.index == -1).sum())
        return loss(self, batch)

    monkeypatch.setattr("methods.colt.nearest_to_centers", lambda *given: sampled.append(1) or nearest_to_centers(*given))
    monkeypatch.setattr(type(training.method), "loss", counting)
    progress = train(training, tmp_path / "c", tmp_path / "l", lambda report: steps.update([report.epoch]), 1e9)
    assert [outside[epoch] for epoch in range(6)] == [0, 0, *[BUDGET] * 4]
    assert [steps[epoch] for epoch in range(6)] == [8, 8, *[10] * 4]  # 256 and 296 images in batches of 32
    assert training.steps_before == [0, 8, 16, 26, 36, 46, 56]
    assert progress.images == 6 * 256 + 4 * BUDGET
    assert len(sampled) == 2  # at the start of epochs 2 and 5, counted from 0


def test_the_images_sampled_are_those_trained_on(photographs, pool, monkeypatch):
    training = _training("colt", photographs, pool, warmup="0")
    start_epoch(training, 0)
    given = []
    render = TorchViews.render
    monkeypatch.setattr(TorchViews, "render", lambda self, images, *rest: given.append(images) or render(self, images, *rest))
    index = torch.cat([batch.index for batch in batches(training, 0)])
    found = torch.cat(given)[index == -1]
    expected = torch.from_numpy(pool)[training.method.selected]
    assert sorted(found.flatten(1).tolist()) == sorted(expected.flatten(1).tolist())


def test_a_pool_that_is_too_small_is_reported():
    config = small_config("colt", epochs=4, hparams={"budget": "71", "warmup": "50%"})
    check_pool_size(config, 71)
    with pytest.raises(UserError, match=r"colt\.warmup=4 is as long as the run of 4 epochs, or longer"):
        check_pool_size(small_config("colt", epochs=4, hparams={"warmup": "4"}), 71)
    with pytest.raises(UserError, match=r"colt samples 71 images, but its OOD pool has 70; lower colt\.budget"):
        check_pool_size(config, 70)


@pytest.mark.parametrize("name", ["colt", "sdclr+colt", "bcl+colt"])
def test_it_plugs_into_other_methods(name, photographs, pool, tmp_path):
    training = _training(name, photographs, pool, epochs=2, warmup="1")
    method = training.method
    progress = train(training, tmp_path / "checkpoint.pt", tmp_path / "log.jsonl", lambda report: None, 1e9)
    assert progress.images == 2 * 256 + BUDGET
    state = method.state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state)
    assert not [key for key in state if key.startswith("backbone.")]  # the host's alone
    run = folder_of(tmp_path, training.config)
    run.create()
    run.save_trained(method, TrainingFacts(1.0, 8, None, "cpu"))
    other = build_method(training.config, 256)
    run.load_weights(other)
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), state.values(), strict=True))
    assert method.memory.seen.sum() == training.tail_scores.seen.sum() == 256
    if name == "sdclr+colt":
        shares = torch.cat([mask.flatten() for mask in method.host.competitor.masks])
        assert shares.float().mean().item() == pytest.approx(0.1, abs=1e-3)
    if name == "bcl+colt":
        assert method.host.memory.seen.sum() == 256
        seen = [strength for batch in batches(training, 1) for strength in method.view_strength(batch.index)[batch.index < 0]]
        assert [float(strength) for strength in seen] == [0] * BUDGET
        assert (method.view_strength(torch.arange(256)) > 0).sum() >= 255
