"""Sampling of augmentation parameters, against torchvision's distributions where available, else against the spec."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision import transforms

from data.views.params import draw_batch
from data.views.spec import CONTRASTIVE, View


def _draw(view, count, height=32, width=32, seed=0):
    return draw_batch([view], torch.full((count,), height), torch.full((count,), width), seed)[0]


def _rate_is(drawn, rate):
    return abs(drawn.double().mean().item() - rate) < 4 * (rate * (1 - rate) / len(drawn)) ** 0.5


@pytest.mark.parametrize(("height", "width"), [(32, 32), (120, 200), (300, 90)])
@pytest.mark.parametrize("view", [View(), View(crop_scale=(0.6, 0.9), crop_ratio=(0.5, 1.5))])
def test_crops_are_distributed_as_torchvisions(view, height, width):
    boxes = _draw(view, 4000, height, width).box.double()
    image = torch.zeros(3, height, width)
    torch.manual_seed(0)
    theirs = np.array([transforms.RandomResizedCrop.get_params(image, view.crop_scale, view.crop_ratio) for _ in range(4000)])
    for ours, reference in (
        (boxes[:, 2] * boxes[:, 3], theirs[:, 2] * theirs[:, 3]),
        (boxes[:, 3] / boxes[:, 2], theirs[:, 3] / theirs[:, 2]),
        (boxes[:, 0], theirs[:, 0]),
        (boxes[:, 1], theirs[:, 1]),
    ):
        assert ks_2samp(ours.numpy(), reference, method="asymp").pvalue > 1e-3
    for side, length in enumerate((height, width)):
        assert boxes[:, side].min() >= 0
        assert boxes[:, 2 + side].min() > 0
        assert (boxes[:, side] + boxes[:, 2 + side]).max() <= length


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 90), (90, 40), (33, 47), (100, 300)])
@pytest.mark.parametrize("ratio", [(2.0, 2.0), (0.7, 0.8)])
def test_a_crop_that_never_fits_falls_back_to_torchvisions(height, width, ratio):
    boxes = _draw(View(crop_scale=(1.05, 1.05), crop_ratio=ratio), 3, height, width).box
    reference = transforms.RandomResizedCrop.get_params(torch.zeros(3, height, width), [1.05, 1.05], list(ratio))
    assert boxes.tolist() == [list(reference)] * 3


def test_every_image_is_cropped_by_its_own_size():
    height, width = torch.tensor([32, 500, 8, 32]), torch.tensor([32, 20, 700, 32])
    mixed = draw_batch([View()], height, width, 0)[0].box
    alike = _draw(View(), 4).box
    assert torch.equal(mixed[[0, 3]], alike[[0, 3]])
    assert ((mixed[:, :2] + mixed[:, 2:]) <= torch.stack([height, width], dim=1)).all()
    assert not torch.equal(mixed[1:3], alike[1:3])


def test_jitter_is_distributed_as_torchvisions():
    view, count = View(), 6000
    params = _draw(view, count)
    spread = (view.brightness, view.contrast, view.saturation)
    ranges = [[1 - s, 1 + s] for s in spread] + [[-view.hue, view.hue]]
    torch.manual_seed(0)
    orders, *factors = zip(*(transforms.ColorJitter.get_params(*ranges) for _ in range(count)), strict=True)
    for k, theirs in enumerate(factors):
        assert ks_2samp(params.factor[:, k].numpy(), np.array(theirs)).pvalue > 1e-3
    # each operation is equally often at each place, and all orders occur equally often
    share = torch.stack([(params.order == k).double().mean(dim=0) for k in range(4)])
    theirs = torch.stack([(torch.stack(orders) == k).double().mean(dim=0) for k in range(4)])
    assert (share - 0.25).abs().max() < 0.025
    assert (share - theirs).abs().max() < 0.035
    _, counts = params.order.unique(dim=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - count / 24) ** 2 / (count / 24)).sum() < 50  # chi-squared of 23 degrees of freedom: p = 0.001


def test_factors_stay_where_torchvision_lets_them():
    factor = _draw(View(brightness=1.5, contrast=2.0, saturation=3.0, hue=0.5), 4000).factor
    assert factor.min(dim=0).values.tolist() == pytest.approx([0, 0, 0, -0.5], abs=0.01)
    assert factor.max(dim=0).values.tolist() == pytest.approx([2.5, 3, 4, 0.5], abs=0.01)


def test_rates_are_as_declared():
    view = View(flip_p=0.3, jitter_p=0.8, gray_p=0.2, blur_p=0.4, solarize_p=0.1)
    params = _draw(view, 20_000)
    for drawn, rate in (
        (params.flip, view.flip_p),
        (params.jitter, view.jitter_p),
        (params.gray, view.gray_p),
        (params.sigma > 0, view.blur_p),
        (params.solarize, view.solarize_p),
    ):
        assert _rate_is(drawn, rate)
    # and apart from each other
    assert _rate_is(params.flip & params.jitter, 0.3 * 0.8)
    assert _rate_is(params.gray & params.solarize, 0.2 * 0.1)
    assert _rate_is((params.sigma > 0) & params.solarize, 0.4 * 0.1)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_what_never_or_always_happens(rate):
    params = _draw(View(flip_p=rate, jitter_p=rate, gray_p=rate, blur_p=rate, solarize_p=rate), 2000)
    for drawn in (params.flip, params.jitter, params.gray, params.sigma > 0, params.solarize):
        assert drawn.double().mean() == rate


def test_sigmas_are_distributed_as_torchvisions():
    sigma = _draw(View(blur_p=0.5, blur_sigma=(0.1, 2.0)), 8000).sigma
    torch.manual_seed(0)
    theirs = np.array([transforms.GaussianBlur.get_params(0.1, 2.0) for _ in range(4000)])
    assert ks_2samp(sigma[sigma > 0].numpy(), theirs).pvalue > 1e-3


def test_blur_and_solarisation_change_no_other_draw():
    plain, more = _draw(View(), 500), _draw(View(blur_p=0.5, solarize_p=0.5), 500)
    for name in ("box", "flip", "jitter", "order", "factor", "gray"):
        assert torch.equal(getattr(plain, name), getattr(more, name))


def test_views_of_a_batch_are_drawn_apart_and_the_seed_decides():
    side = torch.full((2000,), 32)
    one, other = draw_batch([View(), View()], side, side, seed=3)
    again, _ = draw_batch([View(), View()], side, side, seed=3)
    assert all(torch.equal(getattr(one, f.name), getattr(again, f.name)) for f in dataclasses.fields(one))
    assert (one.box == other.box).all(dim=1).double().mean() < 0.02
    assert _rate_is(one.flip & other.flip, 0.25)
    assert abs(np.corrcoef(one.factor[:, 0], other.factor[:, 0])[0, 1]) < 0.1
    (elsewhere, _) = draw_batch([View(), View()], side, side, seed=4)
    assert not torch.equal(one.box, elsewhere.box)


def test_a_role_changes_the_benchmarks_view_and_nothing_unknown():
    base = View(flip_p=0.0)
    assert CONTRASTIVE.on(base) == base
    assert CONTRASTIVE.but(gray_p=0.0).but(hue=0.0).on(base) == dataclasses.replace(base, gray_p=0.0, hue=0.0)
    with pytest.raises(TypeError):
        CONTRASTIVE.but(grey_p=0.0).on(base)
