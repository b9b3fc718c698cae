"""Tensor operations against torchvision and Pillow; tests of all backends are in `test_backends.py`."""

import dataclasses

import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from data.views import postprocess
from data.views.color import ChannelMap, Jitter, color_jitter
from data.views.params import draw_batch
from data.views.resample import CropPlan, crop_resize
from data.views.spec import CONTRASTIVE, RandAugment, View
from data.views.torch_backend import TorchViews

PLAIN = View(crop_scale=(1, 1), crop_ratio=(1, 1), flip_p=0, jitter_p=0, gray_p=0, mean=(0, 0, 0), std=(1, 1, 1))


def _pil(images):
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]


def _params(view, count, seed=0):
    side = torch.full((count,), 32)
    return draw_batch([view], side, side, seed)[0]


@pytest.mark.parametrize("size", [16, 24, 32, 48])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_crop_and_resize_equal_pillows(photographs, size, interpolation):
    params = _params(View(), len(photographs))
    ours = crop_resize(photographs.float() / 255, CropPlan.of(params.box, params.flip, 32, 32, size, interpolation))
    mode = {"bicubic": InterpolationMode.BICUBIC, "bilinear": InterpolationMode.BILINEAR}[interpolation]
    theirs = []
    for image, box, flip in zip(_pil(photographs), params.box.tolist(), params.flip.tolist(), strict=True):
        cropped = F.resized_crop(image, *box, [size, size], mode)
        theirs.append(F.pil_to_tensor(F.hflip(cropped) if flip else cropped))
    difference = (ours * 255 - torch.stack(theirs)).abs()
    assert difference.mean() < 0.5  # Pillow rounds to whole grey levels twice
    # Pillow clips between its two passes, and takes the one first that leaves less to do: overshoots may differ
    assert (difference > 3).double().mean() < 1e-3


def test_a_crop_of_the_whole_image_changes_nothing(photographs):
    assert torch.equal(TorchViews((PLAIN,))(photographs, seed=0, size=32)[0], photographs.float() / 255)


def test_color_jitter_equals_torchvisions_in_every_order(photographs):
    params = _params(dataclasses.replace(View(), jitter_p=0.8), len(photographs))
    images = photographs.float() / 255
    ours = color_jitter(images.flatten(2).clone(), Jitter.of(params.jitter, params.order, params.factor)).view_as(images)
    operations = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    exact, pillow = [], []
    for i, image in enumerate(_pil(photographs)):
        tensor = images[i]
        if params.jitter[i]:
            for k in params.order[i].tolist():
                tensor = operations[k](tensor, params.factor[i, k].item())
                image = operations[k](image, params.factor[i, k].item())
        exact.append(tensor)
        pillow.append(F.pil_to_tensor(image))
    assert len({tuple(order) for order in params.order.tolist()}) == 24
    # torchvision's float operations differ in the fourth digit of the weight of red
    assert (ours - torch.stack(exact)).abs().max() < 1e-3
    # Pillow rounds to whole grey levels after each operation and its hue has 256 steps
    assert (ours * 255 - torch.stack(pillow)).abs().mean() < 1.5


def test_gray_and_normalisation_equal_torchvisions(photographs):
    images = photographs.float() / 255
    gray = torch.arange(len(images)) % 3 == 0
    view = View()
    ours = ChannelMap.of(gray, view.mean, view.std)(images.flatten(2)).view_as(images)
    theirs = torch.stack([F.rgb_to_grayscale(x, 3) if g else x for x, g in zip(images, gray, strict=True)])
    assert torch.allclose(ours, F.normalize(theirs, view.mean, view.std), atol=2e-3)


def test_equal_views_are_the_same_made_together_or_apart(photographs, monkeypatch):
    backend = TorchViews((View(), View()))
    monkeypatch.setattr(postprocess, "JOINED_PIXELS", 10**9)
    together = backend(photographs, 3, 24)
    monkeypatch.setattr(postprocess, "JOINED_PIXELS", 0)
    for a, b in zip(together, backend(photographs, 3, 24), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_unsupported_arguments_are_refused(photographs):
    with pytest.raises(ValueError, match="no view has RandAugment"):
        TorchViews((View(),))(photographs, 0, 32, strength=torch.ones(len(photographs)))
    augmented = TorchViews((CONTRASTIVE.but(randaugment=RandAugment()).on(View()),))
    for strength in (torch.ones(len(photographs) - 1), torch.full((len(photographs),), 1.1), torch.tensor(torch.nan)):
        with pytest.raises(ValueError, match=r"256 numbers in \[0, 1\]"):
            augmented(photographs, 0, 32, strength=strength)
