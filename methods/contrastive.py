"""Methods that contrast two views of an image with other images, and methods that plug into any of them."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from backbones.corpus import Corpus
from data.loader import Batch
from methods.base import Method, Output
from methods.losses import nt_xent
from methods.schedules import temperature_at


class Contrastive(Method):
    """A method whose loss is NT-Xent between the embeddings of two views.

    Its hyper-parameters have a `temperature`, a number or a schedule (`methods/schedules.py`).
    """

    @abstractmethod
    def embed(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """(B, d) embeddings of the first and of the second views, not yet normalised."""

    @abstractmethod
    def project(self, images: Tensor) -> Tensor:
        """(B, d) embeddings of images as a test sees them, not yet normalised; called in eval mode."""

    def observe(self, index: Tensor, losses: Tensor) -> None:
        """Hook for what a step told about each image: the (B,) NT-Xent losses of the images `index` (-1: none of the set)."""

    def score(self, index: Tensor, losses: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
        """Hook: (B,) tail scores, from what is remembered, the losses or the embeddings; the losses, unless overridden."""
        return losses

    def tau(self, epoch: int) -> float:
        """The temperature of an epoch, counted from 0."""
        return temperature_at(self.hparams.temperature, epoch, self.scale.epochs)

    def loss(self, batch: Batch) -> Output:
        """Mean NT-Xent."""
        z1, z2 = self.embed(batch.views)
        losses = nt_xent(z1, z2, self.tau(batch.epoch))
        self.observe(batch.index, losses.detach())
        return Output(losses.mean(), self.score(batch.index, losses.detach(), z1.detach(), z2.detach()))


class PlugIn(Contrastive):
    """A method on top of a contrastive one, its `Host`, whose embeddings, views and memory it uses as they are.

    The host's own `loss` and `score` are not called. The class's hyper-parameters extend the host's. A plug-in on another host
    is a subclass that names it.
    """

    Host: ClassVar[type[Contrastive]]

    def build(self, width: int) -> None:
        """Builds the host around the backbone, then what the plug-in adds."""
        self.host = self.Host(self.hparams, self.backbone, width, self.scale)
        # the host holds the network; a second name for it must not make it a second entry of the state
        del self.backbone
        object.__setattr__(self, "backbone", self.host.backbone)
        self.views = self.host.views
        self.extend(width)

    @abstractmethod
    def extend(self, width: int) -> None:
        """Adds the plug-in's own modules and buffers; `width` is that of the backbone's features."""

    def embed(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        return self.host.embed(views)

    def project(self, images: Tensor) -> Tensor:
        return self.host.project(images)

    def observe(self, index: Tensor, losses: Tensor) -> None:
        self.host.observe(index, losses)

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        self.host.on_epoch_start(epoch, corpus)

    def after_step(self, step: int) -> None:
        self.host.after_step(step)

    def view_strength(self, index: Tensor) -> Tensor | None:
        return self.host.view_strength(index)

    def sample_state(self) -> Mapping[str, Tensor]:
        return self.host.sample_state()
