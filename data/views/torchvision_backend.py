"""Reference augmentation backend: torchvision and Pillow on the CPU, one image at a time.

The operations are those of the data loaders in the reference repositories (VITA-Group/SDCLR `train_simCLR.py` and
`data/augmentation.py`; MediaBrain-SJTU/BCL `data/randaug.py`): on 8-bit images, with rounding to integer levels
after each operation. Only the sampling of parameters differs.
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
)  # in the order of `data.views.params.JITTER`
NO_CHANGE = (1.0, 1.0, 1.0, 0.0)  # identity factors; torchvision's ColorJitter skips such operations
SOLARIZE_FROM = 128  # grey level


@register("torchvision")
class TorchvisionViews(Backend):
    """Backend by torchvision's functions on Pillow images, the reference for all others.

    Images are processed on torch's number of threads, which does not affect results.
    """

    about = "the reference: torchvision on the CPU, one Pillow image at a time; slow"

    @property
    def input_device(self) -> torch.device:
        """The CPU."""
        return CPU

    def render(self, images: Loaded, drawn: Sequence[Params], size: int) -> tuple[Tensor, ...]:
        """Renders all views image by image."""

        def made(position: int, image: Image.Image) -> list[Tensor]:
            views = zip(self.views, drawn, strict=True)
            return [_view(image, view, params, position, view.side(size)) for view, params in views]

        per_image = _encoded(images).decode_each(made)
        return tuple(torch.stack(view).to(self.device) for view in zip(*per_image, strict=True))

    def evaluate(self, images: ImageSet, evaluation: Evaluation) -> Tensor:
        """Applies the evaluation transform.

        Raises:
            ValueError: image files without `resize` or `crop`.
        """
        if isinstance(images, ImageFiles):
            declared_sizes(evaluation)

        def made(_: int, image: Image.Image) -> Tensor:
            if evaluation.resize is not None:
                resized = F.resize(image, evaluation.resize, MODES[evaluation.interpolation], antialias=True)
                image = F.center_crop(resized, evaluation.crop or evaluation.resize)
            return F.normalize(F.to_tensor(image), evaluation.mean, evaluation.std)

        return torch.stack(_encoded(images).decode_each(made)).to(self.device)


def _encoded(images: ImageSet | Loaded) -> Encoded:
    """Encodes any images for `decode_each`; in-memory images without loss."""
    if isinstance(images, Encoded):
        return images
    return (images if isinstance(images, ImageFiles) else ImageFiles(list(images.cpu().numpy()))).read()


def _view(image: Image.Image, view: View, params: Params, b: int, size: int) -> Tensor:
    """Renders one view of the RGB image at position `b` of the batch: (3, size, size), normalised."""
    image = F.resized_crop(image, *params.box[b].tolist(), [size, size], MODES[view.interpolation])
    if params.flip[b]:
        image = F.hflip(image)
    if params.jitter[b]:
        for k in params.order[b].tolist():
            if params.factor[b, k] != NO_CHANGE[k]:  # a zero hue shift would still round to HSV and back
                image = JITTERS[k](image, params.factor[b, k].item())
    if params.gray[b]:
        image = F.rgb_to_grayscale(image, num_output_channels=3)
    if params.sigma[b] > 0:  # Pillow's blur as in SDCLR; torchvision's truncates the Gaussian
        image = image.filter(ImageFilter.GaussianBlur(params.sigma[b].item()))
    if params.solarize[b]:
        image = F.solarize(image, SOLARIZE_FROM)
    for k, name in enumerate(OPERATIONS[i] for i in params.operation[b].tolist()):
        if params.applied[b, k]:
            image = randaugment_operation(name, image, params.value[b, k].item(), params.centre[b, k].tolist())
    return F.normalize(F.to_tensor(image), view.mean, view.std)


def randaugment_operation(name: str, image: Image.Image, value: float, centre: Sequence[float]) -> Image.Image:
    """Applies one RandAugment operation to an RGB image as in BCL's repository.

    Args:
        name: one of `data.views.randaugment.OPERATIONS`.
        image: a square.
        value: signed, in the units of `data.views.randaugment.RANGES`.
        centre: x and y of a cutout as fractions of the width.
    """
    width = image.width
    affine = {
        "ShearX": (1, value, 0, 0, 1, 0),
        "ShearY": (1, 0, 0, value, 1, 0),
        "TranslateX": (1, 0, value * width, 0, 1, 0),
        "TranslateY": (1, 0, 0, 0, 1, value * width),
    }
    if name in affine:
        return image.transform(image.size, Image.Transform.AFFINE, affine[name])
    if name == "Rotate":
        return image.rotate(value)
    if name in ("AutoContrast", "Equalize", "Invert"):
        return getattr(ImageOps, name.lower())(image)
    if name == "Solarize":
        return ImageOps.solarize(image, value)  # type: ignore[arg-type]  # fractional thresholds work
    if name == "Posterize":
        return ImageOps.posterize(image, int(value))
    if name == "Cutout":
        return _cutout(image, value * width, centre)
    return getattr(ImageEnhance, name)(image).enhance(value)


def _cutout(image: Image.Image, side: float, centre: Sequence[float]) -> Image.Image:
    """Fills a square of `side` px; at the left and top edge the square is shifted into the image, as in BCL."""
    left, top = (int(max(0, at * image.width - side / 2)) for at in centre)
    right, bottom = (min(image.width, start + side) for start in (left, top))
    image = image.copy()
    ImageDraw.Draw(image).rectangle((left, top, right, bottom), tuple(int(level) for level in CUTOUT_FILL))
    return image
