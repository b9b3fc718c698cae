"""Views by NVIDIA DALI: it decodes, cuts out, resizes and mirrors, on the GPU where there is one; torch does the colours.

Colours stay with `data/views/color.py` as DALI has no operation equal to torchvision's: its fused `color_twist` rotates the
hue in another space, pivots the contrast on grey 128 and keeps one order for all images, and torchvision's semantics written
out in its graph are nine times slower than cutting and resizing. So what is left of DALI's differences from Pillow is small:

- its filters are Pillow's, but beyond the edge of a crop they see its last pixel again, where Pillow makes do with the pixels
  there are: pixels as near to the edge as a filter reaches differ. Over a 32-px view the average is 0.2 grey levels.
- on a processor it decodes files to the same pixels, bit by bit; a GPU's JPEG decoder may round otherwise.

Nothing is drawn at random here: the same seed gives the same views with any number of threads.
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
from data.views.postprocess import finish, in_one_batch
from data.views.resample import center_start, resized_sides
from data.views.spec import Evaluation, View

if TYPE_CHECKING:
    from nvidia.dali.pipeline import Pipeline

log = logging.getLogger(__name__)

CUDAS = ("130", "120")  # that DALI has packages for


@dataclass(frozen=True)
class Cut:
    """What one output of the pipeline shows of each of B images; all in px, vertical before horizontal."""

    interpolation: str
    start: Tensor  # (B, 2) int32: corner of the box that is cut out
    shape: Tensor  # (B, 2) int32: its height and width
    begin: Tensor  # (B, 2) float32: where the part of the box that is shown begins
    end: Tensor  # (B, 2) float32: where it ends; below `begin` for a mirrored one

    @classmethod
    def of_view(cls, view: View, params: Params) -> "Cut":
        """The random crop of a view, mirrored where it says so."""
        start, shape = params.box.int().split(2, dim=1)
        mirrored = torch.stack([torch.zeros_like(params.flip), params.flip], dim=1)
        whole = shape.float()
        return cls(view.interpolation, start, shape, torch.where(mirrored, whole, 0.0), torch.where(mirrored, 0.0, whole))

    @classmethod
    def of_centre(cls, height: Tensor, width: Tensor, shorter: int, crop: int, interpolation: str) -> "Cut":
        """The central `crop` px square of images of (B,) `height` and `width` px resized to `shorter` px."""
        shape = torch.stack([height, width], dim=1)
        resized = torch.tensor([resized_sides(h, w, shorter) for h, w in shape.tolist()])
        begin = torch.tensor([[center_start(side, crop) for side in both] for both in resized.tolist()])
        scale = shape.double() / resized
        box = shape.int()
        return cls(interpolation, torch.zeros_like(box), box, (begin * scale).float(), ((begin + crop) * scale).float())


@register("dali")
class DaliViews(Backend):
    """Backend by DALI's operators, followed by batched torch operations on the device."""

    about = "NVIDIA DALI decodes, crops and resizes, on the GPU where there is one; colours by tensor operations"

    def __init__(self, views: Sequence[View], device: torch.device | str = "cpu"):
        """As every backend."""
        super().__init__(views, device)
        self._on_gpu = self.device.type == "cuda"
        self._pipelines: dict[tuple[bool, tuple[str, ...], int], Pipeline] = {}
        self._told = False  # of pictures that Pillow decodes in DALI's place

    @classmethod
    def missing_dependency(cls, device: torch.device = CPU) -> str | None:
        """Nothing is imported for the answer: it takes a second. On a GPU DALI has to be for the CUDA that torch is for."""
        if sys.platform != "linux":
            return "DALI exists for Linux only"
        wanted, found = f"nvidia-dali-cuda{_cuda()}", wheel()
        if found is None:
            return f"DALI is not installed: pip install {wanted}"
        if device.type == "cuda" and found != wanted:
            return f"{found} is not for torch's CUDA {torch.version.cuda}: pip uninstall {found} && pip install {wanted}"
        return None

    @property
    def input_device(self) -> torch.device:
        """Where images in memory should lie: DALI knows processors and NVIDIA's GPUs."""
        return self.device if self._on_gpu else CPU

    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """Cuts all views of a picture from one decoding, then colours them."""
        cuts = [Cut.of_view(view, params) for view, params in zip(self.views, drawn, strict=True)]
        crops = self._cut(images, cuts, size, lambda files: decode_and_crop(files, self.views, drawn, size))
        units = [to_float(x.to(self.device, non_blocking=True)) for x in crops]
        joined = in_one_batch(self.views, self.device, len(images), size)
        return finish([torch.cat(units)] if joined else units, self.views, drawn)

    def evaluate(self, images: ImageSet, shown: Evaluation) -> Tensor:
        """Resizes and crops where `shown` says so, and normalises."""
        loaded = images.read() if isinstance(images, ImageFiles) else images
        crop = shown.crop if isinstance(loaded, Encoded) else shown.crop or shown.resize
        if shown.resize is not None and crop is not None:
            cut = Cut.of_centre(*image_sizes(loaded), shown.resize, crop, shown.interpolation)
            (levels,) = self._cut(loaded, [cut], crop, lambda files: [decode_for_evaluation(files, shown)])
        else:
            levels = decode_for_evaluation(loaded, shown) if isinstance(loaded, Encoded) else loaded
        return normalize(to_float(levels.to(self.device)), shown.mean, shown.std)

    def _cut(
        self, images: Loaded, cuts: Sequence[Cut], size: int, by_pillow: Callable[[Encoded], list[Tensor]]
    ) -> list[Tensor]:
        """Each cut of the images at `size` px, (B, 3, size, size) uint8; `by_pillow` does it where DALI cannot decode a file.

        Raises:
            Unreadable: some files cannot be decoded by either.
        """
        count = len(images)
        inputs: dict[str, Any] = {"size": np.full((count, 2), size, dtype=np.float32)}
        for k, cut in enumerate(cuts):
            fields = {"start": cut.start, "shape": cut.shape, "from": cut.begin, "to": cut.end}
            inputs |= {f"{name}{k}": value.contiguous().numpy() for name, value in fields.items()}
        interpolations = tuple(cut.interpolation for cut in cuts)
        if isinstance(images, Tensor):
            pixels = images.to(self.input_device).permute(0, 2, 3, 1).contiguous()
            inputs["images"] = pixels if self._on_gpu else pixels.numpy()  # DALI asks every tensor of torch for a CUDA stream
            return self._run(False, interpolations, count, inputs)
        if self._on_gpu and any(_cut_short(data) for data in images.data):
            images.decode_each(lambda position, picture: None)
        inputs["images"] = [np.frombuffer(data, dtype=np.uint8) for data in images.data]
        try:
            return self._run(True, interpolations, count, inputs)
        except RuntimeError as error:
            if "decoders.image" not in str(error):
                raise
            made = by_pillow(images)  # raises where the file is to blame; DALI does not say which it was
            if not self._told:
                log.warning("Pillow decodes batches with a picture that DALI cannot decode: %s", _reason(error))
                self._told = True
            return made

    def _run(self, encoded: bool, interpolations: tuple[str, ...], count: int, inputs: dict[str, Any]) -> list[Tensor]:
        """The outputs of the pipeline, which is built where there is none yet for so many images."""
        key = (encoded, interpolations, torch.get_num_threads())
        pipeline = self._pipelines.get(key)
        if pipeline is None or pipeline.max_batch_size < count:
            pipeline = self._pipelines[key] = build(*key, count, self.device)
        try:
            # on torch's stream: what torch did before is done, and what DALI wrote is there for what torch does next
            outputs = pipeline.run(torch.cuda.current_stream(self.device) if self._on_gpu else None, **inputs)
        except RuntimeError:
            del self._pipelines[key]  # of no use after a failure
            raise
        return [torch.from_dlpack(output.as_tensor()).permute(0, 3, 1, 2) for output in outputs]


def wheel() -> str | None:
    """The package of DALI that is installed."""
    for cuda in CUDAS:
        with suppress(PackageNotFoundError):
            return version(f"nvidia-dali-cuda{cuda}") and f"nvidia-dali-cuda{cuda}"
    return None


def _cuda() -> str:
    """The CUDA of the package that goes with torch's; where torch has none any does, and the newest is named."""
    return "120" if (torch.version.cuda or "").startswith("12") else CUDAS[0]


def build(encoded: bool, interpolations: tuple[str, ...], threads: int, count: int, device: torch.device) -> "Pipeline":
    """A pipeline for up to `count` images at once; see `data/views/dali/pipeline.py`."""
    from data.views.dali.pipeline import cut_and_resize

    on_gpu = device.type == "cuda"
    index = (torch.cuda.current_device() if device.index is None else device.index) if on_gpu else None
    # nothing is prefetched: every run has its inputs. Outputs stay valid after later runs with DALI's default way of execution
    options = {"batch_size": count, "num_threads": threads, "device_id": index, "prefetch_queue_depth": 1}
    return cut_and_resize(encoded, on_gpu, interpolations, **options)


def _cut_short(data: bytes) -> bool:
    """Whether a JPEG lacks the mark of its end, so that a GPU's decoder might fill up what is missing; Pillow would not."""
    return data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-64:]


def _reason(error: RuntimeError) -> str:
    """What went wrong; DALI's messages begin with a traceback of the graph's definition."""
    return first_line(RuntimeError(str(error).partition("encountered:")[2]))
