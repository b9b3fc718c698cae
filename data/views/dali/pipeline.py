"""The graph of operators that DALI carries out, on a processor or on a GPU: decode, cut out, resize, mirror."""

from collections.abc import Sequence
from typing import Any

from nvidia.dali import fn
from nvidia.dali.data_node import DataNode
from nvidia.dali.pipeline import pipeline_def
from nvidia.dali.types import DALIDataType, DALIImageType, DALIInterpType

FILTERS = {"bilinear": DALIInterpType.INTERP_LINEAR, "bicubic": DALIInterpType.INTERP_CUBIC}  # cubic with a = -0.5, as Pillow's


@pipeline_def
def cut_and_resize(encoded: bool, on_gpu: bool, interpolations: Sequence[str]) -> tuple[DataNode, ...]:
    """One output for each of `interpolations`, all from the same images: (S, S, 3) uint8 each.

    It draws nothing at random. Inputs of a run, with a row for each image:
        images: files as bytes, or (H, W, 3) uint8; the latter on the device.
        size: (2,) float32, height and width of the outputs in px.
        start0, shape0, ...: (2,) int32, the box that is cut out for output 0, ..., vertical before horizontal, in px.
        from0, to0, ...: (2,) float32, where the part of the box that is shown begins and ends, in px of the box. The filter
            sees what lies around that part, and nothing around the box. Where `to` is below `from` the part is mirrored.

    Args:
        encoded: whether images come as files.
        on_gpu: whether the GPU of the pipeline works; a pipeline without `device_id` has none.
        interpolations: "bilinear" or "bicubic".
    """
    if encoded:
        files = fn.external_source(name="images", dtype=DALIDataType.UINT8, ndim=1)
        images = fn.decoders.image(
            files,
            device="mixed" if on_gpu else "cpu",
            output_type=DALIImageType.RGB,
            adjust_orientation=False,  # as torchvision's and every Pillow loader that does not ask for it
            hw_decoder_load=0.0,  # else a picture's decoder, and so its last bit, would depend on the others of its batch
            jpeg_fancy_upsampling=True,  # as libjpeg, and so Pillow
        )
    else:
        images = fn.external_source(name="images", device="gpu" if on_gpu else "cpu", dtype=DALIDataType.UINT8, layout="HWC")
    size = fn.external_source(name="size", dtype=DALIDataType.FLOAT, ndim=1)
    return tuple(_cut(images, size, k, FILTERS[name]) for k, name in enumerate(interpolations))


def _cut(images: DataNode, size: DataNode, k: int, interpolation: DALIInterpType) -> Any:
    start, shape = (fn.external_source(name=f"{name}{k}", dtype=DALIDataType.INT32, ndim=1) for name in ("start", "shape"))
    begin, end = (fn.external_source(name=f"{name}{k}", dtype=DALIDataType.FLOAT, ndim=1) for name in ("from", "to"))
    box = fn.slice(images, start, shape, axis_names="HW")  # `resize` alone would let the filter see beyond the box
    return fn.resize(box, size=size, roi_start=begin, roi_end=end, interp_type=interpolation, antialias=True)
