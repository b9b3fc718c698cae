"""The reference that every other backend is held to: torchvision and Pillow, one picture at a time, on the processor.

These are the operations that the reference repositories run in their data loaders (VITA-Group/SDCLR `train_simCLR.py` and
`data/augmentation.py`; MediaBrain-SJTU/BCL `data/randaug.py`): on 8-bit pictures, each operation rounded to whole grey
levels. Only the random numbers are the suite's own.
"""

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from data.image_files import Encoded, ImageFiles
from data.views.backend import CPU, Backend, ImageSet, Loaded, register
from data.views.decoding import declared_sizes
from data.views.params import Params
from data.views.randaugment import CUTOUT_FILL, OPERATIONS
from data.views.spec import Evaluation, View

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
JITTERS = (
    F.adjust_brightness,
    F.adjust_contrast,
    F.adjust_saturation,
    F.adjust_hue,
)  # as `data.views.params.JITTER` names them
NO_CHANGE = (1.0, 1.0, 1.0, 0.0)  # factors of theirs that change nothing; torchvision's ColorJitter leaves such operations out
SOLARIZE_FROM = 128  # grey level


@register("torchvision")
class TorchvisionViews(Backend):
    """Backend by torchvision's functions on Pillow pictures, for tests and for doubts about the fast ones.

    ImageFiles are worked on in as many threads as torch has; their number changes no bit.
    """

    about = "the reference: torchvision on the processor, one Pillow picture at a time; slow"

    @property
    def input_device(self) -> torch.device:
        """Images in memory stay on the processor."""
        return CPU

    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """All views of one picture after the other."""

        def made(position: int, picture: Image.Image) -> list[Tensor]:
            return [_view(picture, view, params, position, size) for view, params in zip(self.views, drawn, strict=True)]

        of_pictures = _encoded(images).decode_each(made)
        return tuple(torch.stack(view).to(self.device) for view in zip(*of_pictures, strict=True))

    def evaluate(self, images: ImageSet, shown: Evaluation) -> Tensor:
        """Resizes and crops where `shown` says so, and normalises.

        Raises:
            ValueError: pictures in files, and no size to bring them to.
        """
        if isinstance(images, ImageFiles):
            declared_sizes(shown)

        def made(_: int, picture: Image.Image) -> Tensor:
            if shown.resize is not None:
                resized = F.resize(picture, shown.resize, MODES[shown.interpolation], antialias=True)
                picture = F.center_crop(resized, shown.crop or shown.resize)
            return F.normalize(F.to_tensor(picture), shown.mean, shown.std)

        return torch.stack(_encoded(images).decode_each(made)).to(self.device)


def _encoded(images: ImageSet | Loaded) -> Encoded:
    """Images of any kind as pictures to be decoded one by one; those in memory without loss."""
    if isinstance(images, Encoded):
        return images
    return (images if isinstance(images, ImageFiles) else ImageFiles(list(images.cpu().numpy()))).read()


def _view(picture: Image.Image, view: View, params: Params, b: int, size: int) -> Tensor:
    """One view of the RGB picture at position `b` of the batch: (3, size, size), normalised."""
    picture = F.resized_crop(picture, *params.box[b].tolist(), [size, size], MODES[view.interpolation])
    if params.flip[b]:
        picture = F.hflip(picture)
    if params.jitter[b]:
        for k in params.order[b].tolist():
            if params.factor[b, k] != NO_CHANGE[k]:  # even a hue shifted by nothing would be rounded to HSV and back
                picture = JITTERS[k](picture, params.factor[b, k].item())
    if params.gray[b]:
        picture = F.rgb_to_grayscale(picture, num_output_channels=3)
    if params.sigma[b] > 0:  # Pillow's blur, as SDCLR's: torchvision's own cuts the Gaussian off at a kernel's edge
        picture = picture.filter(ImageFilter.GaussianBlur(params.sigma[b].item()))
    if params.solarize[b]:
        picture = F.solarize(picture, SOLARIZE_FROM)
    for k, name in enumerate(OPERATIONS[i] for i in params.operation[b].tolist()):
        if params.applied[b, k]:
            picture = randaugment_operation(name, picture, params.value[b, k].item(), params.centre[b, k].tolist())
    return F.normalize(F.to_tensor(picture), view.mean, view.std)


def randaugment_operation(name: str, picture: Image.Image, value: float, centre: Sequence[float]) -> Image.Image:
    """One operation of RandAugment on an RGB picture, as BCL's repository carries it out.

    Args:
        name: one of `data.views.randaugment.OPERATIONS`.
        picture: a square.
        value: signed, in the units of `data.views.randaugment.RANGES`.
        centre: x and y of a cutout as shares of the width.
    """
    width = picture.width
    affine = {
        "ShearX": (1, value, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, value, 1, 0),
        "TranslateX": (1, 0, value * width, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, value * width),
    }
    if name in affine:
        return picture.transform(picture.size, Image.Transform.AFFINE, affine[name])
    if name == "Rotate":
        return picture.rotate(value)
    if name in ("AutoContrast", "Equalize", "Invert"):
        return getattr(ImageOps, name.lower())(picture)
    if name == "Solarize":
        return ImageOps.solarize(picture, value)  # type: ignore[arg-type]  # a threshold between two levels is one too
    if name == "Posterize":
        return ImageOps.posterize(picture, int(value))
    if name == "Cutout":
        return _cutout(picture, value * width, centre)
    return getattr(ImageEnhance, name)(picture).enhance(value)


def _cutout(picture: Image.Image, side: float, centre: Sequence[float]) -> Image.Image:
    """A filled square of `side` px; it keeps its side where its corner is moved into the picture at the left or top."""
    left, top = (int(max(0, at * picture.width - side / 2)) for at in centre)
    right, bottom = (min(picture.width, start + side) for start in (left, top))
    picture = picture.copy()
    ImageDraw.Draw(picture).rectangle((left, top, right, bottom), tuple(int(level) for level in CUTOUT_FILL))
    return picture
