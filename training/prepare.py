"""Builds a run from its configuration: method at initial weights, optimiser, loader and images."""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import backbones
from backbones.corpus import Corpus
from core.errors import UserError
from core.seeds import seed_of
from core.words import counted
from data.benchmark import BENCHMARKS
from data.image_files import ImageFiles
from data.loader import Loader, steps_per_epoch
from data.views.backend import BACKENDS, ImageSet
from methods import METHODS, Method, RunScale
from methods.memory import SampleMemory
from training.config import RunConfig
from training.optimizer import build_optimizer
from training.schedule import view_size


@dataclass(frozen=True)
class Training:
    """Everything that the training loop uses."""

    config: RunConfig
    method: Method
    optimizer: torch.optim.Optimizer
    loader: Loader
    corpus: Corpus
    tail_scores: SampleMemory  # last tail score of each image
    device: torch.device

    @property
    def state(self) -> nn.Module:
        """Modules whose state a checkpoint stores, apart from the optimiser."""
        return nn.ModuleDict({"method": self.method, "tail_scores": self.tail_scores})

    @property
    def epochs(self) -> int:
        """Number of epochs of the run."""
        return self.config.recipe.epochs

    def images(self, epoch: int) -> int:
        """Number of source images of an epoch, OOD images included."""
        return len(self.corpus.images) + self.method.extra_images(epoch)

    def steps(self, epoch: int) -> int:
        """Number of optimiser steps of an epoch."""
        return self.loader.steps(self.method.extra_images(epoch))

    @cached_property
    def steps_before(self) -> list[int]:
        """Number of optimiser steps before each epoch; the last entry is the total."""
        return [0, *accumulate(self.steps(epoch) for epoch in range(self.epochs))]

    def size(self, epoch: int) -> int:
        """View size of an epoch in px."""
        return view_size(epoch, self.epochs, self.config.recipe.sizes)

    def work_before(self, epoch: int) -> int:
        """Computation before an epoch, in images times pixels of a view, to which training time is roughly proportional."""
        return sum(self.images(earlier) * self.size(earlier) ** 2 for earlier in range(epoch))


def prepare(
    config: RunConfig,
    images: ImageSet,
    device: torch.device,
    *,
    pool: NDArray[np.uint8] | ImageFiles | None = None,
    labels: Tensor | None = None,
) -> Training:
    """Builds method, optimiser and loader at their initial state.

    Args:
        config: of the run.
        images: N, the pretraining set in the order of its index list.
        device: device of training.
        pool: M images of the OOD pool, (M, 3, H, W) uint8 or image files.
        labels: (N,) true classes; passed on only to ablations with `Method.uses_labels`.
    """
    method = build_method(config, len(images)).to(device).to(memory_format=torch.channels_last)
    benchmark = BENCHMARKS[config.dataset]
    backend = BACKENDS[config.executor]([role.on(benchmark.view) for role in method.views], device)
    if isinstance(images, Tensor):
        images = images.to(backend.input_device)
    loader = Loader(images, backend, config.recipe.batch_size, config.seed)
    oracle = labels.to(device) if labels is not None and method.uses_labels else None
    corpus = Corpus(images, backend, benchmark.evaluation_of(config.recipe), pool, config.precision, oracle)
    scores = SampleMemory(len(images)).to(device)
    return Training(config, method, build_optimizer(method, config.recipe, config.precision), loader, corpus, scores, device)


def check_pool_size(config: RunConfig, available: int) -> None:
    """Raises UserError if the run samples more images from its OOD pool than are available."""
    with torch.device("meta"):
        method = build_method(config, config.recipe.batch_size)
    sampled = max((method.extra_images(epoch) for epoch in range(config.recipe.epochs)), default=0)
    if sampled > available:
        name = config.method
        raise UserError(
            f"{name} samples {counted(sampled, 'image')}, but its OOD pool has {available}; lower {name}.budget or choose "
            "another pool"
        )


def uses_true_labels(config: RunConfig) -> bool:
    """Whether the method of a run gets the true labels: an ablation, chosen by a hyper-parameter."""
    with torch.device("meta"):
        return build_method(config, config.recipe.batch_size).uses_labels


def build_method(config: RunConfig, samples: int) -> Method:
    """Builds the method of a run at its initial weights, on the CPU; the global CPU generator is restored afterwards."""
    declared = METHODS[config.method]
    size = BENCHMARKS[config.dataset].image_size
    recipe = config.recipe
    scale = RunScale(samples, recipe.epochs, recipe.epochs * steps_per_epoch(samples, recipe.batch_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(config.seed, "init"))
        backbone = backbones.create(recipe.backbone, size)
        width = backbones.feature_width(backbone, size)
        return declared(declared.Hparams(**config.hparams), backbone, width, scale)
