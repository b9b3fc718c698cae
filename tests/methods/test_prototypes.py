"""SwAV, DINO and what they share: values of reference code, loops written from the papers, schedules."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.loader import Batch
from methods import METHODS, Method
from methods.multicrop import IMAGE_FILES
from methods.prototypes import Prototypes, swapped_prediction
from tests.conftest import GOLDEN
from tests.runs import small_config
from training.config import default_hparams, resolve
from training.loop import batches, step
from training.prepare import build_method, prepare

REFERENCE = {name: torch.from_numpy(values) for name, values in np.load(GOLDEN / "prototypes.npz").items()}
V, B, WIDTH = REFERENCE["z"].shape
K = len(REFERENCE["prototypes"])
RUN = 20  # epochs
both = pytest.mark.parametrize("name", ["swav", "dino"])


def _method(name: str, epochs: int = RUN, **hparams: str | int) -> Method:
    """A method in float64 with the prototypes, the queues and the centre of the reference."""
    own = {"swav": {"queue": 10, "queue_start": "100%"}, "dino": {"tau_warmup": "5"}}[name]
    settings = {"crops": V - 2, "prototypes": K, "out_dim": WIDTH, "freeze": "0", **own, **hparams}
    method = build_method(small_config(name, epochs=epochs, hparams=settings), samples=100).double().train()
    with torch.no_grad():
        method.prototypes.weight.copy_(REFERENCE["prototypes"])
        if name == "swav":
            for queue, vectors in zip((method.queue1, method.queue2), REFERENCE["queue"], strict=True):
                queue.vectors.copy_(vectors)
        else:
            method.teacher_prototypes.weight.copy_(REFERENCE["teacher_prototypes"])
            method.centre.copy_(REFERENCE["centre"])
    return method


def _embeddings(name: str) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A leaf of the embeddings of all views, and the argument of `objective`."""
    z = REFERENCE["z"].clone().requires_grad_()
    return z, (*z, *(REFERENCE["teacher"] if name == "dino" else ()))


@pytest.mark.parametrize(
    ("name", "key", "hparams"),
    [("swav", "swav", {}), ("swav", "swav_queue", {"queue_start": "0"}), ("dino", "dino", {})],
)
def test_loss_and_gradients_equal_the_reference(name, key, hparams):
    method, (z, embeddings) = _method(name, **hparams), _embeddings(name)
    output = method.objective(embeddings, torch.arange(B), 2)
    output.loss.backward()
    assert output.loss.item() == pytest.approx(REFERENCE[f"{key}_loss"].item(), abs=1e-12)
    assert output.scores.mean().item() == pytest.approx(output.loss.item(), abs=1e-12)
    for found, expected in ((z.grad, "z"), (method.prototypes.weight.grad, "prototypes")):
        assert (found - REFERENCE[f"{key}_grad_{expected}"]).abs().max() < 1e-12
    if name == "dino":
        assert (method.centre - REFERENCE["dino_centre"]).abs().max() < 1e-12
        assert [method.tau(epoch) for epoch in range(RUN)] == pytest.approx(REFERENCE["dino_tau"].tolist(), abs=1e-12)
    else:
        method = _method(name, **hparams)
        codes = method.codes(method.prototypes(REFERENCE["z"][:2]), 2)
        assert (codes - REFERENCE[f"{key}_codes"]).abs().max() < 1e-12


@pytest.mark.parametrize(("views", "targets"), [(2, 2), (2, 1), (5, 2), (8, 2), (4, 4)])
def test_swapped_prediction_equals_a_loop_over_pairs_of_views(views, targets):
    torch.manual_seed(0)
    q, x = torch.randn(targets, 3, 4).double().softmax(dim=2), 3 * torch.randn(views, 3, 4).double()
    losses = swapped_prediction(q, x)
    for image, loss in enumerate(losses.tolist()):
        terms = []
        for i in range(targets):
            for j in set(range(views)) - {i}:
                target, logits = q[i, image].tolist(), x[j, image].tolist()
                total = sum(math.exp(value) for value in logits)
                terms += [-sum(share * math.log(math.exp(a) / total) for share, a in zip(target, logits, strict=True))]
        assert loss == pytest.approx(sum(terms) / len(terms), abs=1e-12)


def test_codes_give_every_prototype_the_same_share():
    method = _method("swav", iterations=100)
    codes = method.codes(method.prototypes(REFERENCE["z"][:2]), 0)
    assert torch.allclose(codes.sum(dim=2), torch.ones(2, B).double())
    assert torch.allclose(codes.sum(dim=1), torch.full((2, K), B / K, dtype=torch.float64), rtol=1e-3)


def test_prototypes_are_cosines_in_float32_under_autocast():
    layer, z = Prototypes(3, 4), torch.randn(2, 5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cosines = layer(z.bfloat16())
    expected = F.cosine_similarity(z.bfloat16().float()[:, :, None], layer.weight, dim=3)
    assert cosines.dtype == torch.float32
    assert torch.allclose(cosines, expected, atol=1e-6)


@both
@pytest.mark.parametrize(
    ("freeze", "run", "frozen"), [("0", 20, 0), ("3", 20, 3), ("10%", 20, 2), ("0.2%", 20, 0), ("0.2%", 1000, 2)]
)
def test_prototypes_are_frozen_at_the_start(name, freeze, run, frozen):
    method = _method(name, epochs=run, freeze=freeze)
    for epoch in range(5):
        method.zero_grad()
        method.objective(_embeddings(name)[1], torch.arange(B), epoch).loss.backward()
        assert method.prototypes.weight.grad.any() == (epoch >= frozen)


@both
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon", "lars"])
def test_optimisers_leave_frozen_prototypes_as_they_are(name, optimizer, photographs):
    config = small_config(name, hparams={"freeze": "1"}, optimizer=optimizer, weight_decay=0.1, lr=0.1)
    training = prepare(config, photographs[:64], torch.device("cpu"))
    before = F.normalize(training.method.prototypes.weight, dim=1)
    distances = []
    for epoch in range(2):
        for batch in batches(training, epoch):
            step(training, batch, epoch)
        distances.append((F.normalize(training.method.prototypes.weight, dim=1) - before).abs().max().item())
    assert distances[0] < 1e-6
    assert distances[1] > 1e-5


def test_queues_take_the_large_views_and_are_read_after_their_start():
    method = _method("swav", queue_start="10%")
    z, embeddings = _embeddings("swav")
    for epoch in range(4):
        before = [method.queue1.vectors.clone(), method.queue2.vectors.clone()]
        cosines = method.prototypes(z[:2])
        alone = _method("swav").codes(cosines, epoch)
        assert torch.equal(method.codes(cosines, epoch), alone) == (epoch < 2)
        method.objective(embeddings, torch.arange(B), epoch)
        for queue, old, own in zip((method.queue1, method.queue2), before, z, strict=False):
            assert not torch.equal(queue.vectors, old)
            places = torch.arange(epoch * B, (epoch + 1) * B) % 10
            assert torch.equal(queue.vectors[places], F.normalize(own, dim=1))


class Recorded(nn.Module):
    """A network whose output is the mean of an image, and the shapes that it got."""

    def __init__(self):
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        return x.mean(dim=(1, 2, 3))[:, None]


@both
@pytest.mark.parametrize("crops", [0, 1, 3])
def test_crops_of_a_size_share_a_pass_and_embeddings_are_in_the_order_of_views(name, crops):
    method = _method(name, crops=crops)
    networks = ["backbone", *(["teacher_backbone"] if name == "dino" else [])]
    for attribute in networks:
        setattr(method, attribute, Recorded())
    for attribute in ("projector", "teacher_projector")[: len(networks)]:
        setattr(method, attribute, nn.Identity())
    views = [torch.full((B, 3, side, side), float(k)) for k, side in enumerate([16, 16, *[9] * crops])]
    found = [z.unique().tolist() for z in method.encode(tuple(views))]
    assert found == [[k] for k in range(2 + crops)] + ([[0], [1]] if name == "dino" else [])
    small = [(crops * B, 3, 9, 9)] if crops else []
    assert method.backbone.shapes == [(2 * B, 3, 16, 16), *small]
    if name == "dino":
        assert method.teacher_backbone.shapes == [(2 * B, 3, 16, 16)]


@both
def test_the_views_are_those_of_the_settings(name):
    large, again, *small = _method(name, crops=3, small_size="0.3", small_area="0.1,0.2", large_area="0.5,0.9").views
    assert dict(large.changes) == dict(again.changes) == {"crop_scale": (0.5, 0.9)}
    assert [dict(role.changes) for role in small] == [{"crop_scale": (0.1, 0.2), "relative_size": 0.3}] * 3


@both
def test_settings_of_the_papers(name):
    h = default_hparams(name, "cifar100lt", "paper")
    assert (h.crops, h.small_size, h.small_area, h.large_area) == (6, 0.56, (0.08, 0.5), (0.2, 1.0))
    assert (h.temperature, h.prototypes, h.out_dim) == ((0.1, 3000, 128) if name == "swav" else (0.1, 4096, 256))
    for dataset in IMAGE_FILES:
        h = default_hparams(name, dataset, "paper")
        assert (round(224 * h.small_size), h.small_area, h.large_area) == (96, (0.05, 0.14), (0.14, 1.0))
        assert h.freeze.whole(500) == 1
    assert not METHODS[name].suite


def test_the_teacher_follows_the_student():
    method = _method("dino", momentum=0.5)
    names = ("backbone", "projector", "prototypes")
    students, teachers = ([*getattr(method, f"{of}{part}").parameters()] for of in ("", "teacher_") for part in names[:1])
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.add_(1)
    before = [parameter.clone() for parameter in teachers]
    method.after_step(0)
    for student, teacher, old in zip(students, teachers, before, strict=True):
        assert torch.allclose(teacher, (student + old) / 2)
    assert not any(p.requires_grad for part in names for p in getattr(method, f"teacher_{part}").parameters())
    changed = method.prototypes.weight.clone() / 2 + REFERENCE["teacher_prototypes"] / 2
    assert torch.allclose(method.teacher_prototypes.weight, changed)


@both
def test_a_step_takes_views_of_both_sizes(name, photographs):
    training = prepare(small_config(name, hparams={"crops": "3"}), photographs[:64], torch.device("cpu"))
    batch: Batch = next(iter(batches(training, 0)))
    assert [view.shape[-1] for view in batch.views] == [16, 16, 9, 9, 9]
    assert step(training, batch, 0)[0].isfinite()


def test_a_setting_of_two_numbers_is_read_from_text_and_json():
    def area(value):
        config = resolve(
            method="swav", dataset="digitslt", preset="smoke", precision="fp32", hparam_changes={"small_area": value}
        )
        return config.hparams["small_area"], config.run_id

    assert area("0.1,0.2") == area([0.1, 0.2]) == area((0.1, 0.2))
    assert area("0.1,0.2")[0] == (0.1, 0.2)
