"""Views of a whole batch at once, as plain tensor operations on the training device.

No loop over images: crop, flip and resize are two batched matrix products, the colour operations work on one plane a
channel. Semantics are torchvision's on float images: each colour operation is clamped to [0, 1] before the next, in the
order drawn for that image. RandAugment alone (`data/randaugment.py`) works on whole grey levels.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from data.randaugment import augment
from data.view_params import JITTER, Params, draw_batch
from data.views import View

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow's "L" mode
CUBIC_A = -0.5  # Pillow's bicubic (torch's own `interpolate` uses -0.75)
TABLE_SOURCE = 64  # widest image (pixels) whose resampling matrices are kept in a table
# equal views are made in one go where calls cost more than pixels: on a GPU, or up to this many pixels a view; measured:
# 0.7 of the time for 128 views of 16 px, the same at 24 px, 1.1 at 32 px, where a processor's cache overflows
JOINED_PIXELS = 128 * 24 * 24
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(len(JITTER))


class TorchViews:
    """Executor of view specs by batched torch operations.

    Called with uint8 images and a seed it returns one float32 tensor a view. The same arguments give the same views on any
    number of threads; on another kind of device they agree up to rounding, as the random numbers come from the CPU.
    """

    name = "torch"

    def __init__(self, views: tuple[View, ...]):
        self.views = views

    def __call__(self, images: Tensor, seed: int, size: int, strength: Tensor | None = None) -> tuple[Tensor, ...]:
        """Makes every declared view of `images`.

        Args:
            images: (B, 3, H, W) uint8, on any device.
            seed: seed of this batch; views are drawn from it one after the other.
            size: side of the square views in pixels.
            strength: (B,) strengths in [0, 1] of the images for RandAugment, best on the CPU; None is 0 for all.

        Returns:
            One (B, 3, size, size) float32 tensor a view, normalised, on the device of `images`.

        Raises:
            ValueError: strengths for views without RandAugment, or not one in [0, 1] an image.
        """
        count, _, height, width = images.shape
        drawn = draw_batch(self.views, count, height, width, seed, strength)
        scaled = images.float().div_(255)
        if len(set(self.views)) == 1 and (images.is_cuda or count * size * size <= JOINED_PIXELS):
            made = render(scaled.repeat(len(drawn), 1, 1, 1), self.views[0], Params.join(drawn), size).split(count)
        else:
            made = tuple(render(scaled, view, params, size) for view, params in zip(self.views, drawn, strict=True))
        for operations in {params.operation.shape[1] for params in drawn} - {0}:
            of = [k for k, params in enumerate(drawn) if params.operation.shape[1] == operations]
            randaugment([made[k] for k in of], [self.views[k] for k in of], [drawn[k] for k in of])
        return made


def render(images: Tensor, view: View, params: Params, size: int) -> Tensor:
    """Makes views up to RandAugment of `images`, (B, 3, H, W) float in [0, 1]; returns (B, 3, size, size), normalised."""
    cropped = crop_resize(images, params.box, params.flip, size, view.interpolation)
    planes = cropped.flatten(2)
    planes = color_jitter(planes, params.jitter, params.order, params.factor)
    planes = gray_and_normalize(planes, params.gray, view.mean, view.std)
    return planes.unflatten(2, (size, size))


def randaugment(made: Sequence[Tensor], views: Sequence[View], drawn: Sequence[Params]) -> None:
    """Replaces the images that operations of RandAugment hit in `made`, finished views (B, 3, S, S) with equally many of them.

    The normalisation is undone and the result rounded to whole grey levels; other images keep every bit. All views go together,
    on a processor too: here calls cost more than pixels.
    """
    hits = [params.applied.any(dim=1).nonzero().squeeze(1) for params in drawn]
    counts = [len(hit) for hit in hits]
    if not any(counts):
        return
    device = made[0].device
    here = [hit.to(device, non_blocking=True) for hit in hits]
    mean = 255 * torch.tensor([view.mean for view in views], device=device)[..., None, None]
    std = 255 * torch.tensor([view.std for view in views], device=device)[..., None, None]
    levels = made[0].new_empty(sum(counts), *made[0].shape[1:])
    parts = levels.split(counts)  # written in place: with many big temporaries a processor's time goes into memory pages
    for x, i, part, m, s in zip(made, here, parts, mean, std, strict=True):
        torch.index_select(x, 0, i, out=part).mul_(s).add_(m)
    chosen = torch.cat([hit + k * len(made[0]) for k, hit in enumerate(hits)])
    fields = ("operation", "applied", "value", "centre")
    augment(levels.round_(), *(torch.cat([getattr(params, field) for params in drawn])[chosen] for field in fields))
    for x, i, part, m, s in zip(made, here, parts, mean, std, strict=True):
        x.index_copy_(0, i, part.sub_(m).div_(s))


def crop_resize(images: Tensor, box: Tensor, flip: Tensor, size: int, interpolation: str) -> Tensor:
    """Crops each image to its box, resizes it to `size` x `size` with antialiasing, mirrors it where `flip` says so.

    Args:
        images: (B, C, H, W) float in [0, 1].
        box: (B, 4) top, left, height, width.
        flip: (B,) bool.
        size: side of the result.
        interpolation: "bilinear" or "bicubic", with Pillow's filters.

    Returns:
        (B, C, size, size), clamped to [0, 1].
    """
    top, left, h, w = box.unbind(1)
    B, C, height, width = images.shape
    rows = _weights(top, h, torch.zeros_like(flip), height, size, interpolation, images.device)  # (B, size, H)
    columns = _weights(left, w, flip, width, size, interpolation, images.device)  # (B, size, W)
    # Pillow resizes along the lines first and clips in between, which tells where bicubic overshoots
    narrow = (images.reshape(B, C * height, width) @ columns.transpose(1, 2)).clamp_(0, 1)  # (B, C*H, size)
    out = rows[:, None] @ narrow.view(B, C, height, size)
    return out.clamp_(0, 1)


def _weights(
    start: Tensor, length: Tensor, mirror: Tensor, source: int, size: int, interpolation: str, device: torch.device
) -> Tensor:
    """`resize_weights` on `device`, rows in reverse order where `mirror` says so; from a table where images are small."""
    if source <= TABLE_SOURCE:
        entry = (mirror.long() * source + start) * (source + 1) + length
        return _weight_table(source, size, interpolation, device)[entry.to(device, non_blocking=True)]
    weights = resize_weights(start, length, source, size, interpolation)
    return torch.where(mirror[:, None, None], weights.flip(1), weights).to(device, non_blocking=True)


@cache
def _weight_table(source: int, size: int, interpolation: str, device: torch.device) -> Tensor:
    """All matrices that crops of a line of `source` pixels can need: (2 * source * (source + 1), size, source).

    Boxes have whole pixels, so a 32-px line has about a thousand of them (4 MB): looking them up takes a tenth of the time
    of computing them for each batch. Boxes that leave the line are in the table too, and are never asked for.
    """
    start = torch.arange(source).repeat_interleave(source + 1)
    length = torch.arange(source + 1).repeat(source)
    weights = resize_weights(start, length, source, size, interpolation)
    return torch.cat([weights, weights.flip(1)]).to(device)


def resize_weights(start: Tensor, length: Tensor, source: int, size: int, interpolation: str) -> Tensor:
    """Matrices that resample the pixels start .. start+length of a line of `source` pixels to `size` pixels.

    The filter is widened by the scale when it shrinks (antialiasing), sees no pixel outside the crop, and each row sums to
    one, as in Pillow's `resize`.

    Returns:
        (B, size, source) float32.
    """
    start, length = start.float()[:, None, None], length.float()[:, None, None]
    scale = length / size  # source pixels per output pixel
    widen = scale.clamp(min=1.0)
    centre = (torch.arange(size)[:, None] + 0.5) * scale  # (B, size, 1), within the crop
    pixel = torch.arange(source) + 0.5 - start  # (B, 1, source), within the crop
    x = ((pixel - centre) / widen).abs_()
    weights = _cubic(x) if interpolation == "bicubic" else (1 - x).clamp_(min=0)
    weights = weights * ((pixel > 0) & (pixel < length))
    return weights / weights.sum(dim=-1, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel at distances x >= 0."""
    a = CUBIC_A
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def color_jitter(x: Tensor, apply: Tensor, order: Tensor, factor: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue in each image's own order.

    Brightness, contrast and saturation are the blend `f * x + (1 - f) * target` towards black, the image's mean grey and each
    pixel's grey: one 3x3 map and one offset per image, so that images at different operations go together. Hue is not linear
    and takes the images whose turn it is.

    Args:
        x: (B, 3, P) float in [0, 1].
        apply: (B,) bool; other images stay as they are.
        order: (B, 4) permutations of the four operations.
        factor: (B, 4) as in `Params`.
    """
    factor = factor.gather(1, order)  # by position, like `order`
    hue_turn = (order == HUE) & apply[:, None]
    maps, mean_weights = (weights.to(x.device, non_blocking=True) for weights in _blends(apply, order, factor))
    for position in range(len(JITTER)):
        # the mean of an image's greys is the grey of its means
        offset = mean_weights[:, position, None] @ x.mean(dim=2, keepdim=True)
        x = torch.baddbmm(offset, maps[:, position], x).clamp_(0, 1)
        turn = hue_turn[:, position].nonzero().squeeze(1)
        if len(turn):
            here = turn.to(x.device, non_blocking=True)
            shifted = shift_hue(x.index_select(0, here), factor[turn, position].to(x.device, non_blocking=True))
            x.index_copy_(0, here, shifted)
    return x


def _blends(apply: Tensor, order: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """The blend of each image at each position; the identity where hue's turn is, or none.

    Args:
        apply: (B,) bool.
        order: (B, 4) operation at each position.
        factor: (B, 4) its factor.

    Returns:
        (B, 4, 3, 3) maps of the channels, and (B, 4, 3) weights of the image's channel means, whose sum is added to all.
    """
    luma = torch.tensor(LUMA)
    f = torch.where(apply[:, None] & (order != HUE), factor, 1.0)
    to_gray = torch.where(order == SATURATION, 1 - f, 0.0)
    to_mean = torch.where(order == CONTRAST, 1 - f, 0.0)
    maps = f[..., None, None] * torch.eye(3) + to_gray[..., None, None] * luma.expand(3, 3)
    return maps, to_mean[..., None] * luma


def shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Rotates the hue of (B, 3, P) images in [0, 1] by `turns` (B,) of the HSV circle, keeping saturation and value."""
    r, g, b = x.unbind(1)
    high = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    # hue in sixths of a turn, from the channel that is highest; where chroma is 0 any hue gives the same grey. Masks are
    # made and used by arithmetic: a processor takes ten times as long for comparisons and `where`
    is_red = (r - high).sign_().add_(1)
    is_green = (g - high).sign_().add_(1).mul_(1 - is_red)
    from_red, from_green, from_blue = g - b, torch.add(b - r, chroma, alpha=2), torch.add(r - g, chroma, alpha=4)
    sector = from_blue + is_red * (from_red - from_blue) + is_green * (from_green - from_blue)
    sector.div_(chroma.clamp(min=1e-8))
    hue = sector.add_(6 * turns[:, None])
    hue.add_((hue * (1 / 6)).floor_(), alpha=-6)  # into [0, 6)
    # the pure colour of a hue: red |hue - 3| - 1, green 2 - |hue - 2|, blue 2 - |hue - 4|, each within [0, 1]
    centre, sign, offset = torch.tensor([[3.0, 2.0, 4.0], [1.0, -1.0, -1.0], [-1.0, 2.0, 2.0]], device=x.device)[..., None]
    pure = torch.addcmul(offset, sign, (hue[:, None] - centre).abs_()).clamp_(0, 1)
    return torch.addcmul(low[:, None], chroma[:, None], pure)


def gray_and_normalize(x: Tensor, gray: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turns images grey where `gray` says so and subtracts and divides by the statistics: one 3x3 map per image."""
    luma = torch.tensor(LUMA).expand(3, 3)
    channel_std = torch.tensor(std)[:, None]
    maps = torch.where(gray[:, None, None], luma, torch.eye(3)) / channel_std
    offset = -torch.tensor(mean)[:, None] / channel_std
    return torch.baddbmm(offset.to(x.device), maps.to(x.device, non_blocking=True), x)
