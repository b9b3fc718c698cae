"""The checks of `check-method`: registered methods pass, and false ones are named with what is wrong."""

import copy

import pytest
import torch
from torch import nn

from backbones.pruning import magnitude_masks
from methods import METHODS
from methods.base import Output
from methods.byol import BYOL
from methods.memory import SampleMemory
from methods.momentum import ema_copy
from methods.sdclr import SDCLR
from methods.simclr import SimCLR
from tests.runs import EVERY_METHOD, small_config
from training.method_checks import check_fall, check_labels, check_run
from training.prepare import prepare

IMAGES = 96
GRADIENT = "gradient reaches every trainable parameter"
NORMS = "statistics of every batch norm change"
FOLLOW = "steps update the parameters that have no gradient"
CHANGE = "every buffer changes after the start of the first epoch"
EFFECT = "every buffer and every branch without gradient affects the loss or the scores"
ANALYSED = {"colt": "cluster, sampled, tailness", "tase": "pseudo_label"}  # by the part of a name after the last plus


class FrozenCopy(SimCLR):
    """Contrasts with a pruned copy that has neither gradient nor batch norms of its own."""

    def build(self, width):
        super().build(width)
        self.pruned = ema_copy(self.backbone)

    def on_epoch_start(self, epoch, corpus):
        self.pruned.load_state_dict(self.backbone.state_dict())
        weights = [m.weight for m in self.pruned.modules() if isinstance(m, nn.Conv2d)]
        for weight, mask in zip(weights, magnitude_masks(weights, 0.9), strict=True):
            weight.mul_(mask)

    def encode(self, views):
        return self.project(views[0]), self.projector(self.pruned.eval()(views[1]))


class DeadMemory(SimCLR):
    """Stores losses that it does not use."""

    def build(self, width):
        super().build(width)
        self.memory = SampleMemory(self.scale.samples, 0.9)

    def observe(self, index, losses):
        self.memory.update(index, losses)


class DeadQueue(SimCLR):
    """Stores embeddings in a ring buffer that it does not use."""

    def build(self, width):
        super().build(width)
        self.register_buffer("queue", torch.zeros(8, self.hparams.out_dim))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def objective(self, embeddings, index, epoch):
        self.queue[self.place] = embeddings[0][0].detach()
        self.place.copy_((self.place + 1) % len(self.queue))
        return super().objective(embeddings, index, epoch)


class NeverUpdated(BYOL):
    """Its target network keeps the initial weights."""

    def after_step(self, step):
        pass


class UpdatedOnceAnEpoch(BYOL):
    """Its target network is a copy from the start of the epoch."""

    def on_epoch_start(self, epoch, corpus):
        super().after_step(0)

    def after_step(self, step):
        pass


class UnusedTarget(BYOL):
    """Its predictions are compared with the online network."""

    def encode(self, views):
        p1, p2, _, _ = super().encode(views)
        with torch.no_grad():
            return p1, p2, *(self.projector(self.backbone(view)) for view in views)


class UnusedProjector(SimCLR):
    """The loss is of the features."""

    def encode(self, views):
        return self.backbone(torch.cat(views)).chunk(2)


class NormsInEvalMode(BYOL):
    """The target network uses running statistics, which nothing updates."""

    def encode(self, views):
        self.target_projector.eval()
        return super().encode(views)


class OneMask(SDCLR):
    """Prunes in the first epoch only."""

    def on_epoch_start(self, epoch, corpus):
        if epoch == 0:
            super().on_epoch_start(epoch, corpus)


class DetachedBranch(SimCLR):
    """The second of two projectors has no gradient."""

    def build(self, width):
        super().build(width)
        self.second = copy.deepcopy(self.projector)

    def encode(self, views):
        return self.project(views[0]), self.second(self.backbone(views[1])).detach()


class FixedTarget(SimCLR):
    """Adds a random projection, which is declared as fixed."""

    fixed = ("projection", "head")

    def build(self, width):
        super().build(width)
        self.register_buffer("projection", torch.randn(self.hparams.out_dim, 4))
        self.head = nn.Linear(4, 4).requires_grad_(False)

    def objective(self, embeddings, index, epoch):
        output = super().objective(embeddings, index, epoch)
        return Output(output.loss + self.head(embeddings[0] @ self.projection).square().mean(), output.scores)


class UndeclaredTarget(FixedTarget):
    """The same without declaration."""

    fixed = ()


class SlowQueue(BYOL):
    """Negatives from a ring buffer: every buffer matters, also the place of the next entry."""

    def build(self, width):
        super().build(width)
        self.register_buffer("queue", torch.randn(64, self.hparams.out_dim))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def objective(self, embeddings, index, epoch):
        output = super().objective(embeddings, index, epoch)
        loss = output.loss + (embeddings[0] @ self.queue.T.clone()).logsumexp(dim=1).mean() / 100
        self.queue[self.place : self.place + 16] = embeddings[2][:16].detach()
        self.place.copy_((self.place + 16) % len(self.queue))
        return Output(loss, output.scores)


FALSE: dict[type, dict[str, list[str]]] = {
    FrozenCopy: {NORMS: ["pruned"], FOLLOW: ["pruned"]},
    DeadMemory: {EFFECT: ["memory"]},
    DeadQueue: {EFFECT: ["place", "queue"]},
    NeverUpdated: {FOLLOW: ["target_backbone", "target_projector"]},
    UpdatedOnceAnEpoch: {FOLLOW: ["target_backbone", "target_projector"]},
    UnusedTarget: {NORMS: [], EFFECT: ["target_backbone", "target_projector"]},
    UnusedProjector: {GRADIENT: ["projector"], NORMS: ["projector"]},
    NormsInEvalMode: {NORMS: ["target_projector"]},
    OneMask: {CHANGE: ["competitor"]},
    DetachedBranch: {GRADIENT: ["second"]},
    UndeclaredTarget: {FOLLOW: ["head"], CHANGE: ["projection"]},
    FixedTarget: {},
    SlowQueue: {},
}


@pytest.fixture
def build(photographs):
    """Prepares a run of a method on photographs."""

    def build(name, labels=None, images=IMAGES, **recipe):
        pool = photographs.repeat(2, 1, 1, 1).numpy()
        # a queue of half of the images would be at its start again after each epoch
        hparams = {"queue": 40} if "queue" in getattr(METHODS[name].Hparams, "__dataclass_fields__", {}) else {}
        config = small_config(name, hparams=hparams, **({"epochs": 3} | recipe))
        return prepare(config, photographs[:images], torch.device("cpu"), pool=pool, labels=labels)

    return build


@pytest.fixture
def registered(monkeypatch):
    """Registers a class for the time of a test; returns its name."""

    def register(method):
        METHODS.names()  # discovered before
        name = method.__name__.lower()
        for key, value in {"name": name, "title": name, "paper": "", "overrides": {}, "suite": False}.items():
            monkeypatch.setattr(method, key, value, raising=False)
        monkeypatch.setitem(METHODS._entries, name, method)
        return name

    return register


@pytest.mark.parametrize("name", EVERY_METHOD)
def test_registered_methods_pass(name, build):
    checks = [*check_run(lambda: build(name)), check_labels(lambda labels: build(name, labels), torch.arange(IMAGES) % 5)]
    checks.append(check_fall(build(name, images=64, epochs=30, batch_size=64)))
    assert {check.subject: check.faults for check in checks if check.faults} == {}
    analysed = ANALYSED.get(name.rpartition("+")[2])
    assert [check.note for check in checks if check.note] == ([f"for the analysis only: {analysed}"] if analysed else [])


@pytest.mark.parametrize("method", FALSE)
def test_a_false_method_is_named(method, registered, build):
    name = registered(method)
    found = {check.subject: check.faults for check in check_run(lambda: build(name)) if check.faults}
    assert found == {subject: names for subject, names in FALSE[method].items() if names}


class Cheat(SimCLR):
    """Weights images by their class."""

    uses_labels = True

    def build(self, width):
        super().build(width)
        self.register_buffer("weight", torch.ones(self.scale.samples))

    def on_epoch_start(self, epoch, corpus):
        self.weight.copy_(1 / (1 + corpus.labels))

    def objective(self, embeddings, index, epoch):
        losses = self.losses(self.pairs(embeddings, index, epoch))
        return Output((self.weight[index] * losses).mean(), losses.detach())


def test_labels_in_the_loss_are_found(registered, build):
    name = registered(Cheat)
    assert check_labels(lambda labels: build(name, labels), torch.arange(IMAGES) % 5).faults


class Constant(SimCLR):
    """Its loss has no minimum to reach."""

    def objective(self, embeddings, index, epoch):
        output = super().objective(embeddings, index, epoch)
        return Output(output.loss - output.loss.detach() + 1, output.scores)


def test_a_loss_that_does_not_fall_is_found(registered, build):
    name = registered(Constant)
    assert check_fall(build(name, images=64, epochs=30, batch_size=64)).faults == ["from 1 to 1, means of five steps"]
