"""Trained backbones with their evaluation transforms, from run folders, exports and the Hugging Face hub."""

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor, nn

from commands.export import export
from commands.hub import HUB, pull, upload
from data.benchmark import BENCHMARKS
from data.image_files import ImageFiles
from data.rgb import to_rgb
from data.views.backend import BACKENDS
from data.views.spec import Evaluation
from run_store.loading import EXPORTED, load_export, load_trained_backbone, open_run
from tailbench.runs import Run, path_of
from training.config import RunConfig


@dataclass(frozen=True)
class ImageTransform:
    """Evaluation transform of the probes, for one PIL image of any size and mode.

    Resizes the shorter side, crops the centre and normalises; an image of the benchmark's size is normalised only.
    """

    evaluation: Evaluation  # its `resize` and `crop` are not None

    def __call__(self, image: Image.Image) -> Tensor:
        """Returns a (3, S, S) float32 tensor."""
        levels = np.asarray(to_rgb(image)).transpose(2, 0, 1)
        return BACKENDS["torch"]([]).evaluate(ImageFiles([levels]), self.evaluation)[0]


class Pretrained(NamedTuple):
    """A trained backbone and the transform of its images."""

    model: nn.Module  # (B, 3, S, S) normalised images to (B, d) features; on the CPU, in eval mode
    transform: ImageTransform


def load(run: Run | str | PathLike[str]) -> Pretrained:
    """Loads the backbone of a trained run, as a module of timm's layers, with its evaluation transform.

    Args:
        run: a run, its folder, the folder of an export, or `hf-hub:USER/NAME` for an export on the Hugging Face hub.

    Raises:
        UserError: there is no trained run or export, or its files are damaged.
    """
    path = pull(run.removeprefix(HUB)) if isinstance(run, str) and run.startswith(HUB) else path_of(run)
    if (path / EXPORTED).exists():
        config, model = load_export(path)
    else:
        opened = open_run(path)
        config, model = opened.config, load_trained_backbone(opened)
    return Pretrained(model, ImageTransform(_evaluation(config)))


def push(run: Run | str | PathLike[str], repository: str, *, private: bool = False) -> str:
    """Exports the backbone of a finished run to the Hugging Face hub, with a model card; returns its address.

    Args:
        run: a run, or its folder.
        repository: `USER/NAME`; created if it does not exist. A new export replaces the files of an earlier one.
        private: whether a new repository is private.

    Raises:
        UserError: the run cannot be exported, or the hub refuses the upload.
    """
    with TemporaryDirectory() as folder:
        return upload(export(path_of(run), Path(folder) / "export"), repository, private=private)


def _evaluation(config: RunConfig) -> Evaluation:
    """The evaluation transform of a run's probes, with `resize` and `crop` for images of any size."""
    benchmark = BENCHMARKS[config.dataset]
    evaluation, size = benchmark.evaluation_of(config.recipe), benchmark.image_size
    return replace(evaluation, resize=evaluation.resize or size, crop=evaluation.crop or size)
