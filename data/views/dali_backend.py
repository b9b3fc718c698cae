"""Augmentation backend by NVIDIA DALI: decode, crop, resize and flip on GPU or CPU; colour operations by torch.

Colour operations use `data/views/color.py`, as DALI has no equivalent of torchvision's: its fused `color_twist` shifts the hue
in another colour space, uses grey 128 as the contrast pivot and has a fixed order, and torchvision's semantics as a DALI graph
are nine times slower than crop and resize. The remaining differences from Pillow are small:

- filters are equal except at crop edges, where DALI repeats the last pixel and Pillow renormalises the filter; the mean
  difference over a 32-px view is 0.2 grey levels;
- JPEG decoding is bit-identical on the CPU; a GPU decoder may round differently.

The pipeline is deterministic: the same seed gives the same views with any number of threads.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from core.errors import first_line
from data.image_files import Encoded, ImageFiles
from data.views.backend import CPU, Backend, ImageSet, Loaded, image_sizes, register
from data.views.color import normalize, to_float
from data.views.decoding import decode_and_crop, decode_for_evaluation
from data.views.params import Params
from data.views.postprocess import FinishPlan, finish, in_one_batch
from data.views.resample import center_start, resized_sides
from data.views.spec import Evaluation, View
from data.views.upload import upload

if TYPE_CHECKING:
    from nvidia.dali.pipeline import Pipeline

log = logging.getLogger(__name__)

CUDAS = ("130", "120")  # CUDA versions of DALI packages
OLDEST = 2  # major version: the first whose default executor keeps outputs valid after later runs


@dataclass(frozen=True)
class Cut:
    """Crop parameters of one pipeline output for B images; in px, vertical before horizontal."""

    side: int  # of the output
    interpolation: str
    start: Tensor  # (B, 2) int32: corner of the crop box
    shape: Tensor  # (B, 2) int32: height and width of the crop box
    begin: Tensor  # (B, 2) float32: start of the region of interest in the box
    end: Tensor  # (B, 2) float32: its end; below `begin` for a flipped region

    @classmethod
    def of_view(cls, view: View, params: Params, side: int) -> "Cut":
        """Random crop and flip of a view of `side` px."""
        start, shape = params.box.int().split(2, dim=1)
        mirrored = torch.stack([torch.zeros_like(params.flip), params.flip], dim=1)
        whole = shape.float()
        begin, end = torch.where(mirrored, whole, 0.0), torch.where(mirrored, 0.0, whole)
        return cls(side, view.interpolation, start, shape, begin, end)

    @classmethod
    def of_centre(cls, height: Tensor, width: Tensor, shorter: int, crop: int, interpolation: str) -> "Cut":
        """Centre crop of `crop` px from images of (B,) `height` and `width` px resized to a shorter side of `shorter` px."""
        shape = torch.stack([height, width], dim=1)
        resized = torch.tensor([resized_sides(h, w, shorter) for h, w in shape.tolist()])
        begin = torch.tensor([[center_start(side, crop) for side in both] for both in resized.tolist()])
        scale = shape.double() / resized
        box = shape.int()
        begin, end = (begin * scale).float(), ((begin + crop) * scale).float()
        return cls(crop, interpolation, torch.zeros_like(box), box, begin, end)


@register("dali")
class DaliViews(Backend):
    """Backend by DALI's operators, followed by batched torch operations on the device."""

    about = "NVIDIA DALI decodes, crops and resizes, on a GPU if available; colour by tensor operations"

    def __init__(self, views: Sequence[View], device: torch.device | str = "cpu"):
        """See `Backend`."""
        super().__init__(views, device)
        self._on_gpu = self.device.type == "cuda"
        self._pipelines: dict[tuple[bool, tuple[str, ...], int], Pipeline] = {}
        self._warned = False  # about files that DALI cannot decode

    @classmethod
    def missing_dependency(cls, device: torch.device = CPU) -> str | None:
        """Checks package metadata, as importing DALI is slow. On a GPU, DALI must match torch's CUDA version."""
        if sys.platform != "linux":
            return "DALI exists for Linux only"
        wanted, found = f"nvidia-dali-cuda{_cuda()}", wheel()
        if found is None:
            return f"DALI is not installed: pip install {wanted}"
        if int(version(found).partition(".")[0]) < OLDEST:
            return f"{found} {version(found)} is older than {OLDEST}.0: pip install '{found}>={OLDEST}.0'"
        if device.type == "cuda" and found != wanted:
            return f"{found} is not for torch's CUDA {torch.version.cuda}: pip uninstall {found} && pip install {wanted}"
        return None

    @property
    def input_device(self) -> torch.device:
        """The GPU if the backend uses one, else the CPU; DALI supports no other devices."""
        return self.device if self._on_gpu else CPU

    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """Renders all views; each image is decoded once."""
        cuts = [Cut.of_view(view, params, view.side(size)) for view, params in zip(self.views, drawn, strict=True)]
        crops = self._cut(images, cuts, lambda files: decode_and_crop(files, self.views, drawn, size))
        crops, plan = upload((crops, FinishPlan.of(self.views, drawn, self.device, size)), self.device)
        floats = [to_float(x) for x in crops]
        joined = in_one_batch(self.views, self.device, len(images), size)
        return finish([torch.cat(floats)] if joined else floats, self.views, plan)

    def evaluate(self, images: ImageSet, evaluation: Evaluation) -> Tensor:
        """Applies the evaluation transform."""
        loaded = images.read() if isinstance(images, ImageFiles) else images
        crop = evaluation.crop if isinstance(loaded, Encoded) else evaluation.crop or evaluation.resize
        if evaluation.resize is not None and crop is not None:
            cut = Cut.of_centre(*image_sizes(loaded), evaluation.resize, crop, evaluation.interpolation)
            (levels,) = self._cut(loaded, [cut], lambda files: [decode_for_evaluation(files, evaluation)])
        else:
            levels = decode_for_evaluation(loaded, evaluation) if isinstance(loaded, Encoded) else loaded
        return normalize(to_float(upload(levels, self.device)), evaluation.mean, evaluation.std)

    def _cut(self, images: Loaded, cuts: Sequence[Cut], by_pillow: Callable[[Encoded], list[Tensor]]) -> list[Tensor]:
        """Renders each cut, (B, 3, side, side) uint8; falls back to `by_pillow` if DALI cannot decode a file.

        Raises:
            Unreadable: neither DALI nor Pillow can decode a file.
        """
        count = len(images)
        inputs: dict[str, Any] = {}
        for k, cut in enumerate(cuts):
            inputs[f"size{k}"] = np.full((count, 2), cut.side, dtype=np.float32)
            fields = {"start": cut.start, "shape": cut.shape, "from": cut.begin, "to": cut.end}
            inputs |= {f"{name}{k}": value.contiguous().numpy() for name, value in fields.items()}
        interpolations = tuple(cut.interpolation for cut in cuts)
        if isinstance(images, Tensor):
            pixels = upload(images, self.input_device).permute(0, 2, 3, 1).contiguous()
            inputs["images"] = pixels if self._on_gpu else pixels.numpy()  # DALI requests a CUDA stream from every torch tensor
            return self._run(False, interpolations, count, inputs)
        if self._on_gpu and any(_is_truncated(data) for data in images.data):
            images.decode_each(lambda position, image: None)
        inputs["images"] = [np.frombuffer(data, dtype=np.uint8) for data in images.data]
        try:
            return self._run(True, interpolations, count, inputs)
        except RuntimeError as error:
            if "decoders.image" not in str(error):
                raise
            made = by_pillow(images)  # raises Unreadable for damaged files; DALI does not report which file failed
            if not self._warned:
                log.warning("batches with an image that DALI cannot decode are decoded by Pillow: %s", _reason(error))
                self._warned = True
            return made

    def _run(self, encoded: bool, interpolations: tuple[str, ...], count: int, inputs: dict[str, Any]) -> list[Tensor]:
        """Runs the pipeline; builds it if there is none for this many images."""
        key = (encoded, interpolations, torch.get_num_threads())
        pipeline = self._pipelines.get(key)
        if pipeline is None or pipeline.max_batch_size < count:
            pipeline = self._pipelines[key] = build(*key, count, self.device)
        try:
            # on torch's stream, which orders DALI's reads and writes with torch's
            outputs = pipeline.run(torch.cuda.current_stream(self.device) if self._on_gpu else None, **inputs)
        except RuntimeError:
            del self._pipelines[key]  # a pipeline is unusable after a failure
            raise
        return [torch.from_dlpack(output.as_tensor()).permute(0, 3, 1, 2) for output in outputs]


def wheel() -> str | None:
    """Name of the installed DALI package, or None."""
    for cuda in CUDAS:
        with suppress(PackageNotFoundError):
            return version(f"nvidia-dali-cuda{cuda}") and f"nvidia-dali-cuda{cuda}"
    return None


def _cuda() -> str:
    """CUDA version of the DALI package that matches torch; the newest if torch has no CUDA."""
    return "120" if (torch.version.cuda or "").startswith("12") else CUDAS[0]


def build(encoded: bool, interpolations: tuple[str, ...], threads: int, count: int, device: torch.device) -> "Pipeline":
    """Builds a pipeline for batches of up to `count` images; see `data/views/dali/pipeline.py`."""
    from data.views.dali.pipeline import cut_and_resize

    on_gpu = device.type == "cuda"
    index = (torch.cuda.current_device() if device.index is None else device.index) if on_gpu else None
    # no prefetching, as every run has its own inputs. With DALI's default executor, outputs stay valid after later runs
    options = {"batch_size": count, "num_threads": threads, "device_id": index, "prefetch_queue_depth": 1}
    return cut_and_resize(encoded, on_gpu, interpolations, **options)


def _is_truncated(data: bytes) -> bool:
    """Whether a JPEG has no end marker: a GPU decoder may fill the missing part, while Pillow raises an error."""
    return data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-64:]


def _reason(error: RuntimeError) -> str:
    """Extracts the error from DALI's message, which starts with a traceback of the graph definition."""
    return first_line(RuntimeError(str(error).partition("encountered:")[2]))
