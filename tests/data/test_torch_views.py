"""The batched executor against torchvision: exact where parameters can be given, statistical where they are drawn."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from data import torch_views
from data.torch_views import TorchViews, color_jitter, crop_resize, gray_and_normalize, render
from data.view_params import draw
from data.views import CONTRASTIVE, RandAugment, View

PLAIN = View(crop_scale=(1, 1), crop_ratio=(1, 1), flip_p=0, jitter_p=0, gray_p=0, mean=(0, 0, 0), std=(1, 1, 1))


def _pil(images):
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]


def _params(view, count, seed=0):
    return draw(view, count, 32, 32, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [16, 24, 32, 48])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_crop_and_resize_equal_pillows(photographs, size, interpolation):
    params = _params(View(), len(photographs))
    ours = crop_resize(photographs.float() / 255, params.box, params.flip, size, interpolation)
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
    ours = color_jitter(images.flatten(2).clone(), params.jitter, params.order, params.factor).view_as(images)
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
    ours = gray_and_normalize(images.flatten(2), gray, view.mean, view.std).view_as(images)
    theirs = torch.stack([F.rgb_to_grayscale(x, 3) if g else x for x, g in zip(images, gray, strict=True)])
    assert torch.allclose(ours, F.normalize(theirs, view.mean, view.std), atol=2e-3)


def test_drawn_crops_are_distributed_as_torchvisions():
    view = View()
    boxes = _params(view, 4000).box.double()
    image = torch.zeros(3, 32, 32)
    torch.manual_seed(0)
    theirs = np.array([transforms.RandomResizedCrop.get_params(image, view.crop_scale, view.crop_ratio) for _ in range(4000)])
    for ours, reference in (
        (boxes[:, 2] * boxes[:, 3], theirs[:, 2] * theirs[:, 3]),
        (boxes[:, 3] / boxes[:, 2], theirs[:, 3] / theirs[:, 2]),
        (boxes[:, 0], theirs[:, 0]),
        (boxes[:, 1], theirs[:, 1]),
    ):
        assert ks_2samp(ours.numpy(), reference).pvalue > 1e-3
    assert (boxes[:, 0] + boxes[:, 2]).max() <= 32
    assert (boxes[:, 1] + boxes[:, 3]).max() <= 32


def test_a_crop_that_never_fits_falls_back_to_the_centre():
    view = View(crop_scale=(1, 1), crop_ratio=(2, 2))
    box = draw(view, 3, 32, 32, torch.Generator().manual_seed(0)).box
    torch.manual_seed(0)
    reference = transforms.RandomResizedCrop.get_params(torch.zeros(3, 32, 32), [1, 1], [2, 2])
    assert box.tolist() == [list(reference)] * 3


def test_rates_factors_and_orders_are_as_declared():
    view, count = View(), 20_000
    params = _params(view, count)
    for drawn, rate in ((params.flip, view.flip_p), (params.jitter, view.jitter_p), (params.gray, view.gray_p)):
        assert abs(drawn.double().mean().item() - rate) < 4 * (rate * (1 - rate) / count) ** 0.5
    for k, (centre, spread) in enumerate(((1, view.brightness), (1, view.contrast), (1, view.saturation), (0, view.hue))):
        uniform = np.random.RandomState(k).uniform(centre - spread, centre + spread, count)
        assert ks_2samp(params.factor[:, k].numpy(), uniform).pvalue > 1e-3
    # each operation is equally often at each place
    share = torch.stack([(params.order == k).double().mean(dim=0) for k in range(4)])
    assert (share - 0.25).abs().max() < 0.015


def test_composed_views_have_torchvisions_statistics(photographs):
    view, size = View(), 32
    reference = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, view.crop_scale, interpolation=InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            transforms.RandomGrayscale(0.2),
            transforms.ToTensor(),
            transforms.Normalize(view.mean, view.std),
        ]
    )
    torch.manual_seed(0)
    theirs = torch.stack([reference(image) for _ in range(8) for image in _pil(photographs)])
    ours = torch.cat([TorchViews((view,))(photographs, seed, size)[0] for seed in range(8)])
    for statistic in (
        lambda x: x.mean(dim=(2, 3))[:, 0],
        lambda x: x.mean(dim=(2, 3))[:, 2],
        lambda x: x.std(dim=(1, 2, 3)),
        lambda x: (x[:, :, 1:] - x[:, :, :-1]).abs().mean(dim=(1, 2, 3)),  # sharpness
    ):
        assert ks_2samp(statistic(ours).numpy(), statistic(theirs).numpy()).pvalue > 1e-3


def test_the_seed_alone_decides_the_views(photographs):
    executor = TorchViews((View(), View()))
    first, again, other = (executor(photographs, seed, 24) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    other_threads = executor(photographs, 1, 24)
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(first, other_threads, strict=True))


def test_an_image_keeps_its_view_whatever_else_is_in_the_batch(photographs):
    params = _params(View(), len(photographs))
    one = dataclasses.replace(params, **{f.name: getattr(params, f.name)[5:6] for f in dataclasses.fields(params)})
    together = render(photographs.float() / 255, View(), params, 32)[5]
    assert torch.allclose(render(photographs[5:6].float() / 255, View(), one, 32)[0], together, atol=1e-5)


def test_equal_views_are_the_same_made_together_or_apart(photographs, monkeypatch):
    executor = TorchViews((View(), View()))
    monkeypatch.setattr(torch_views, "JOINED_PIXELS", 10**9)
    together = executor(photographs, 3, 24)
    monkeypatch.setattr(torch_views, "JOINED_PIXELS", 0)
    for a, b in zip(together, executor(photographs, 3, 24), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_a_role_changes_the_benchmarks_view_and_nothing_unknown():
    base = View(flip_p=0.0)
    assert CONTRASTIVE.on(base) == base
    assert CONTRASTIVE.but(gray_p=0.0).but(hue=0.0).on(base) == dataclasses.replace(base, gray_p=0.0, hue=0.0)
    with pytest.raises(TypeError):
        CONTRASTIVE.but(grey_p=0.0).on(base)


def test_what_the_executor_does_not_have_is_refused(photographs):
    with pytest.raises(ValueError, match="no declared view has RandAugment"):
        TorchViews((View(),))(photographs, 0, 32, strength=torch.ones(len(photographs)))
    augmented = TorchViews((CONTRASTIVE.but(randaugment=RandAugment()).on(View()),))
    for strength in (torch.ones(len(photographs) - 1), torch.full((len(photographs),), 1.1), torch.tensor(torch.nan)):
        with pytest.raises(ValueError, match=r"256 numbers in \[0, 1\]"):
            augmented(photographs, 0, 32, strength=strength)
