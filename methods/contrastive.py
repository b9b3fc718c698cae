"""Contrastive methods of two views, and plug-ins that extend any of them."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from torch import Tensor

from backbones.corpus import Corpus
from methods.base import Method, Output
from methods.losses import log_probabilities, nt_xent_of
from methods.schedules import temperature_at


@dataclass(frozen=True)
class Pairs:
    """The positive pairs of one batch: embeddings of both views of each image, and what a loss of them depends on."""

    z1: Tensor  # (B, d) embeddings of the first views, not normalised
    z2: Tensor  # (B, d) of the second views
    tau: float | Tensor  # temperature: one number, or (B,) one for each image as an anchor
    index: Tensor  # (B,) images of the pretraining set; -1: from the OOD pool
    epoch: int  # from 0

    @cached_property
    def log_probabilities(self) -> tuple[Tensor, Tensor]:
        """`methods.losses.log_probabilities`, computed once for all terms that are functions of them."""
        return log_probabilities(self.z1, self.z2, self.tau)


class Contrastive(Method):
    """A method whose loss compares the embeddings of two views: the mean of `losses`, NT-Xent unless overridden.

    Its hyper-parameters have a `temperature`, a number or a schedule (`methods/schedules.py`).
    """

    @abstractmethod
    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """(B, d) embeddings of the first and of the second views, not normalised."""

    @abstractmethod
    def project(self, images: Tensor) -> Tensor:
        """(B, d) embeddings of images under the evaluation transform, not normalised; called in eval mode."""

    def losses(self, pairs: Pairs) -> Tensor:
        """(B,) loss of each image, with gradient. Plug-ins call it on their host, some with other temperatures."""
        _, log_p = pairs.log_probabilities
        return nt_xent_of(log_p)

    def observe(self, index: Tensor, losses: Tensor) -> None:
        """Hook: the (B,) detached losses of the images `index` (-1: from the OOD pool), once a step."""

    def score(self, index: Tensor, losses: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        """Hook: (B,) tail scores from per-image memory, losses or embeddings; the losses unless overridden."""
        return losses

    def tau(self, epoch: int) -> float:
        """The temperature of an epoch, counted from 0."""
        return temperature_at(self.hparams.temperature, epoch, self.scale.epochs)

    def pairs(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Pairs:
        """The embeddings of a batch, at the temperature of its epoch."""
        z1, z2 = embeddings
        return Pairs(z1, z2, self.tau(epoch), index, epoch)

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        """Mean of `losses`, and `score`."""
        pairs = self.pairs(embeddings, index, epoch)
        losses = self.losses(pairs)
        self.observe(index, losses.detach())
        return Output(losses.mean(), self.score(index, losses.detach(), pairs.z1.detach(), pairs.z2.detach()))


class PlugIn(Contrastive):
    """A method that extends a contrastive one, its `Host`, and uses the host's views, embeddings, losses and hooks.

    Its hyper-parameters extend the host's and take the host's `overrides`. The host's `score` is not used. The same plug-in on
    another host is a subclass that names this host.
    """

    Host: ClassVar[type[Contrastive]]

    @classmethod
    def stack(cls) -> tuple[type[Method], ...]:
        return (*cls.Host.stack(), cls)

    def build(self, width: int) -> None:
        """Builds the host around the backbone, then the plug-in's own parts.

        Raises TypeError for a host that overrides `objective`: a plug-in calls `losses` alone, and would drop the rest.
        """
        if (self.Host.objective, self.Host.loss) != (Contrastive.objective, Contrastive.loss):
            raise TypeError(f"{self.Host.__name__} cannot be a host: it overrides `objective`, and plug-ins call `losses`")
        self.host = self.Host(self.hparams, self.backbone, width, self.scale)
        # the backbone is a submodule of the host: registered here too, it would be in the state dict twice
        del self.backbone
        object.__setattr__(self, "backbone", self.host.backbone)
        self.views = self.host.views
        self.decay_norm_and_bias = self.host.decay_norm_and_bias
        self.sharpness = self.host.sharpness
        self.extend(width)

    @abstractmethod
    def extend(self, width: int) -> None:
        """Adds the plug-in's own modules and buffers; `width` is that of the backbone's features."""

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return self.host.encode(views)

    def ascent(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        return self.host.ascent(embeddings, index, epoch)

    def project(self, images: Tensor) -> Tensor:
        return self.host.project(images)

    def losses(self, pairs: Pairs) -> Tensor:
        return self.host.losses(pairs)

    def observe(self, index: Tensor, losses: Tensor) -> None:
        self.host.observe(index, losses)

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        self.host.on_epoch_start(epoch, corpus)

    def after_step(self, step: int) -> None:
        self.host.after_step(step)

    def view_strength(self, index: Tensor) -> Tensor | None:
        return self.host.view_strength(index)

    def extra_images(self, epoch: int) -> int:
        return self.host.extra_images(epoch)

    def extra_selection(self) -> Tensor | None:
        return self.host.extra_selection()

    def sample_state(self) -> Mapping[str, Tensor]:
        return self.host.sample_state()

    @property
    def uses_labels(self) -> bool:
        return self.host.uses_labels
