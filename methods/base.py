"""Base class and registry of all methods."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from torch import Tensor, nn

from backbones.corpus import Corpus
from core.method_groups import EVERY, MethodGroup
from core.registry import ALL, Registry
from data.loader import Batch
from data.views.spec import CONTRASTIVE, Role
from methods.sharpness import Sharpness


@dataclass(frozen=True)
class RunScale:
    """Sizes of a run that a method may depend on."""

    samples: int  # images N in the pretraining set; `Batch.index` lies in [0, N)
    epochs: int
    steps: int  # optimiser steps of the whole run, without those for OOD images


@dataclass(frozen=True)
class Output:
    """Loss and tail scores of one batch."""

    loss: Tensor  # scalar to minimise
    scores: Tensor  # (B,) detached tail scores of the images in `Batch.index`: higher means more like the tail


class Method(nn.Module, ABC):
    """One SSL method: hyper-parameters, views, modules, a loss, and hooks.

    A method builds no optimiser, loader or probe and gets no labels. Its per-image state is kept in buffers indexed by
    the images of a batch, so that it is checkpointed and moved to the device with the weights.

    The loss has two parts: `encode` depends on each process's images only, apart from synchronised batch norms, and
    `objective` on the embeddings of the whole batch. In multi-process training every process encodes its images, gathers the
    embeddings of all and computes the same objective; a method contains no communication.
    """

    name: ClassVar[str]  # set by `register`, as are the next five
    title: ClassVar[str]
    paper: ClassVar[str]
    overrides: ClassVar[Mapping[str, Mapping[str, Any]]]
    suite: ClassVar[bool]
    group: ClassVar[MethodGroup]

    Hparams: ClassVar[type]  # frozen dataclass whose fields are made by `core.settings.setting`
    views: tuple[Role, ...] = (CONTRASTIVE, CONTRASTIVE)  # `build` may replace them, if they depend on hyper-parameters
    fixed: ClassVar[tuple[str, ...]] = ()  # buffers and modules that training leaves unchanged on purpose (`check-method`)
    decay_norm_and_bias: bool = True  # whether weight decay applies to norms and biases, as in VITA-Group/SDCLR
    sharpness: Sharpness | None = None  # `build` may set it: steps by sharpness-aware minimisation, with `ascent`

    def __init__(self, hparams: Any, backbone: nn.Module, width: int, scale: RunScale):
        """Stores the backbone, from (B, 3, H, W) images to (B, width) features, and calls `build`."""
        super().__init__()
        self.hparams = hparams
        self.scale = scale
        self.backbone = backbone
        self.build(width)

    @classmethod
    def stack(cls) -> "tuple[type[Method], ...]":
        """The methods whose `overrides` apply, in this order: hosts of a plug-in, innermost first, then the method itself."""
        return (cls,)

    @abstractmethod
    def build(self, width: int) -> None:
        """Adds the method's modules and buffers; `width` is the dimension of the backbone's features.

        Called with torch's CPU generator seeded from the run's seed, so that random initial weights are reproducible.
        """

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Embeddings of a batch: every network that is applied to its views.

        Args:
            views: one (B, 3, S, S) tensor per view.

        Returns:
            Tensors of B rows each, in the order of the images.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither `encode` and `objective` nor `loss`")

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        """Scalar loss of a batch, and the tail scores of its images.

        Args:
            embeddings: result of `encode`.
            index: (B,) images of the pretraining set; -1: from the OOD pool.
            epoch: from 0.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither `encode` and `objective` nor `loss`")

    def loss(self, batch: Batch) -> Output:
        """`objective` of `encode`. A method that overrides it instead of these two is trained by one process only."""
        return self.objective(self.encode(batch.views), batch.index, batch.epoch)

    def ascent(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        """Hook of sharpness-aware minimisation: the loss whose gradient perturbs the weights; arguments as in `objective`.

        Called before `objective`, for the same batch, if `sharpness` is set. It changes no buffers; its scores are not used.
        """
        raise NotImplementedError(f"{type(self).__name__} sets `sharpness` and does not define `ascent`")

    def project(self, images: Tensor) -> Tensor:
        """Hook: (B, d) embeddings of images under the evaluation transform, not normalised; called in eval mode.

        The backbone is called once. Collapse of a run is measured on them (`training/collapse.py`).
        """
        return self.backbone(images)

    def on_epoch_start(self, epoch: int, corpus: Corpus) -> None:
        """Hook before the first step of epoch `epoch` (from 0), in eval mode and without gradients.

        Not called when a run resumes in the middle of the epoch.
        """

    def after_step(self, step: int) -> None:
        """Hook after optimiser step `step` of the run (from 0)."""

    def view_strength(self, index: Tensor) -> Tensor | None:
        """Hook: (B,) augmentation strengths in [0, 1] of the images `index`, or None. Deterministic.

        Called once per epoch, for all of its images, before their views are generated.
        """
        return None

    def extra_images(self, epoch: int) -> int:
        """Hook: number of OOD images in epoch `epoch`, a function of the hyper-parameters and the run's length alone."""
        return 0

    def extra_selection(self) -> Tensor | None:
        """Hook: (K,) positions of these images in the OOD pool, from a buffer, or None without a pool."""
        return None

    def sample_state(self) -> Mapping[str, Tensor]:
        """Hook: (N,) values of all images, by name, that the analysis compares with the true classes (`eval/tail.py`).

        `cluster` holds pseudo-labels from 0, negative before the first clustering.
        """
        return {}

    @property
    def uses_labels(self) -> bool:
        """Whether `corpus.labels` holds the true labels: only for ablations chosen by a hyper-parameter."""
        return False


def _made_for(group: MethodGroup) -> Callable[[type[Method]], bool]:
    return lambda method: method.group == group


METHODS: Registry[type[Method]] = Registry(
    "method",
    package="methods",
    groups={
        ALL: lambda method: method.suite,
        **{group: _made_for(group) for group in get_args(MethodGroup)},
        EVERY: lambda method: True,
    },
)


def register(
    name: str,
    *,
    title: str,
    paper: str,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    suite: bool = True,
    group: MethodGroup = "long-tail",
) -> Callable[[type[Method]], type[Method]]:
    """Class decorator that registers a Method.

    Args:
        name: its name on the command line and in records.
        title: its name in tables.
        paper: authors, venue and arXiv number.
        overrides: values that replace defaults of hyper-parameters, by name of a benchmark or preset; presets apply last.
        suite: whether `--methods all` includes it; False for variants, combinations and methods beyond the first seven.
        group: `long-tail` for methods that are made for long-tailed data, `baselines` for others.
    """
    return METHODS.register(name, title=title, paper=paper, overrides=overrides or {}, suite=suite, group=group)
