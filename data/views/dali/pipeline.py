"""DALI pipeline on CPU or GPU: decode, crop, resize, flip."""

from collections.abc import Sequence
from typing import Any

from nvidia.dali import fn
from nvidia.dali.data_node import DataNode
from nvidia.dali.pipeline import pipeline_def
from nvidia.dali.types import DALIDataType, DALIImageType, DALIInterpType

FILTERS = {"bilinear": DALIInterpType.INTERP_LINEAR, "bicubic": DALIInterpType.INTERP_CUBIC}  # cubic with a = -0.5, as Pillow's


@pipeline_def
def cut_and_resize(encoded: bool, on_gpu: bool, interpolations: Sequence[str]) -> tuple[DataNode, ...]:
    """Returns one output per entry of `interpolations`, all from the same images: (S, S, 3) uint8 each, with their own S.

    Deterministic. Inputs of a run, one row per image:
        images: encoded files, or (H, W, 3) uint8 on the device.
        size0, ...: (2,) float32, height and width of output 0, ..., in px.
        start0, shape0, ...: (2,) int32, crop box of output 0, ..., in px, vertical before horizontal.
        from0, to0, ...: (2,) float32, region of interest in the box, in px. The filter reads pixels outside the region,
            but not outside the box. `to` below `from` flips the region.

    Args:
        encoded: whether images are encoded files.
        on_gpu: whether to use the GPU of the pipeline, which then needs `device_id`.
        interpolations: "bilinear" or "bicubic".
    """
    if encoded:
        files = fn.external_source(name="images", dtype=DALIDataType.UINT8, ndim=1)
        images = fn.decoders.image(
            files,
            device="mixed" if on_gpu else "cpu",
            output_type=DALIImageType.RGB,
            adjust_orientation=False,  # as torchvision: EXIF orientation is ignored
            # all images that a hardware decoder supports: with a share, the decoder of an image, and its rounding, would depend
            # on the batch
            hw_decoder_load=1.0,
            jpeg_fancy_upsampling=True,  # as in libjpeg and Pillow
        )
    else:
        images = fn.external_source(name="images", device="gpu" if on_gpu else "cpu", dtype=DALIDataType.UINT8, layout="HWC")
    return tuple(_cut(images, k, FILTERS[name]) for k, name in enumerate(interpolations))


def _cut(images: DataNode, k: int, interpolation: DALIInterpType) -> Any:
    start, shape = (fn.external_source(name=f"{name}{k}", dtype=DALIDataType.INT32, ndim=1) for name in ("start", "shape"))
    size, begin, end = (
        fn.external_source(name=f"{name}{k}", dtype=DALIDataType.FLOAT, ndim=1) for name in ("size", "from", "to")
    )
    box = fn.slice(images, start, shape, axis_names="HW")  # `resize` alone would let the filter read pixels outside the box
    return fn.resize(box, size=size, roi_start=begin, roi_end=end, interp_type=interpolation, antialias=True)
