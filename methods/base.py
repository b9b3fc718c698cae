"""The contract of a method, and the registry of all methods."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from backbones.corpus import Corpus
from core.registry import Registry
from data.loader import Batch
from data.views.spec import CONTRASTIVE, Role


@dataclass(frozen=True)
class RunScale:
    """The sizes of a run that a method may depend on."""

    samples: int  # images N in the pretraining set; `Batch.index` lies in [0, N)
    epochs: int
    steps: int  # optimiser steps of the whole run, on the set alone


@dataclass(frozen=True)
class Output:
    """What a method returns for one batch."""

    loss: Tensor  # scalar to minimise
    scores: Tensor  # (B,) detached tail scores of the images in `Batch.index`: higher means more like the tail


class Method(nn.Module, ABC):
    """One SSL method: hyper-parameters, views, modules, a loss, and hooks.

    A method never builds an optimiser, a loader or a probe, and never sees a label. What it remembers about each image lives
    in buffers indexed by `batch.index`, so that it is checkpointed and moved to the device with everything else.
    """

    name: ClassVar[str]  # set by `register`, as are the next four
    title: ClassVar[str]
    paper: ClassVar[str]
    overrides: ClassVar[Mapping[str, Mapping[str, Any]]]
    suite: ClassVar[bool]

    Hparams: ClassVar[type]  # frozen dataclass whose fields are made by `core.settings.setting`
    views: tuple[Role, ...] = (CONTRASTIVE, CONTRASTIVE)  # `build` may set others, where hyper-parameters decide
    decay_norm_and_bias: bool = True  # whether weight decay reaches norms and biases, as in the SDCLR reference

    def __init__(self, hparams: Any, backbone: nn.Module, width: int, scale: RunScale):
        """Takes a backbone from (B, 3, H, W) images to (B, width) features and builds what the method adds to it."""
        super().__init__()
        self.hparams = hparams
        self.scale = scale
        self.backbone = backbone
        self.build(width)

    @classmethod
    def stack(cls) -> "tuple[type[Method], ...]":
        """The methods whose `overrides` apply, in this order: the hosts of a plug-in from the innermost, then the method."""
        return (cls,)

    @abstractmethod
    def build(self, width: int) -> None:
        """Adds the method's modules and buffers; `width` is that of the backbone's features."""

    @abstractmethod
    def loss(self, batch: Batch) -> Output:
        """Scalar loss of one batch, and the tail score of each of its images."""

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Hook before the first step of epoch `epoch` (from 0); not called again when a run resumes inside it.

        Called in eval mode, without gradients.
        """

    def after_step(self, step: int) -> None:
        """Hook after the optimiser step number `step` of the run (from 0)."""

    def view_strength(self, index: Tensor) -> Tensor | None:
        """Hook before the views are made: (B,) strengths in [0, 1] of the images `index`, or None. Draws nothing at random.

        Asked once an epoch, for all of its images.
        """
        return None

    def extra_images(self, epoch: int) -> int:
        """Hook: how many images of the pool epoch `epoch` trains on beside the set; known before the run begins."""
        return 0

    def extra_selection(self) -> Tensor | None:
        """Hook: positions in the pool (K,) of those images, from a buffer, or None where there are none."""
        return None

    def sample_state(self) -> Mapping[str, Tensor]:
        """Hook: (N,) values of all images that are worth comparing with the true classes, for analysis (`eval/tail.py`).

        Under the name `cluster`, pseudo-labels from 0, negative as long as there are none.
        """
        return {}

    @property
    def wants_labels(self) -> bool:
        """Whether the corpus shows the true labels: only for an ablation that says so in its hyper-parameters."""
        return False


METHODS: Registry[type[Method]] = Registry("method", package="methods")


def register(
    name: str,
    *,
    title: str,
    paper: str,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    suite: bool = True,
) -> Callable[[type[Method]], type[Method]]:
    """Class decorator that enters a Method.

    Args:
        name: how the command line and the records call it.
        title: how tables print it.
        paper: authors, venue and arXiv number.
        overrides: hyper-parameters that differ from the defaults, by name of a benchmark or of a preset (which comes later).
        suite: whether `--methods all` means it; variants and combinations are asked for by name.
    """
    return METHODS.register(name, title=title, paper=paper, overrides=overrides or {}, suite=suite)
