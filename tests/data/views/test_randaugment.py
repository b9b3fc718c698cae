"""RandAugment: operations against Pillow and BCL, sampling against BCL, and the resulting views."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare, ks_2samp

from data.views import postprocess
from data.views.params import Params, draw_batch
from data.views.randaugment import HIGH, LOW, OPERATIONS, SIGNED, augment, steps, values
from data.views.spec import RandAugment, View
from data.views.torch_backend import TorchViews
from data.views.torchvision_backend import randaugment_operation

BCL_I = RandAugment()
BCL_D = RandAugment(operations=2, weakest=5, span=25, jittered=True)
LARGE_SCALE = RandAugment(operations=2, weakest=0, span=30, jittered=True)
PLAIN = View(crop_scale=(1, 1), crop_ratio=(1, 1), flip_p=0, jitter_p=0, gray_p=0)


def _pillows(images, params):
    """Every image's applied operations in Pillow, one after the other: (B, 3, S, S) uint8."""
    results = []
    for b, image in enumerate(images.permute(0, 2, 3, 1).byte().numpy()):
        result = Image.fromarray(image)
        for k in range(params.operation.shape[1]):
            if params.applied[b, k]:
                name, value = OPERATIONS[params.operation[b, k]], params.value[b, k].item()
                result = randaugment_operation(name, result, value, params.centre[b, k].tolist())
        results.append(np.array(result))
    return torch.from_numpy(np.stack(results)).permute(0, 3, 1, 2)


def _run(images, params):
    plan = steps(params.operation, params.applied, params.value, params.centre, images.shape[-1])
    return augment(images.float().clone(), plan)


def _draw(views, count, seed, strength=None):
    side = torch.full((count,), 32)
    return draw_batch(views, side, side, seed, strength)


def _params(spec, strength, views=1, seed=0):
    return _draw([dataclasses.replace(PLAIN, randaugment=spec)] * views, len(strength), seed, strength)


def _only(name, magnitude, negative=False):
    """Parameters of one operation at magnitudes (B,)."""
    params = _params(BCL_I, torch.ones(len(magnitude)))[0]
    operation = torch.full((len(magnitude), 1), OPERATIONS.index(name))
    value = values(operation, magnitude[:, None])
    return dataclasses.replace(params, operation=operation, value=-value if negative else value)


def _magnitudes(params):
    """Magnitudes of 30 that the values stand for."""
    low, high = LOW[params.operation], HIGH[params.operation]
    return (params.value.abs() - low) / (high - low) * 30


@pytest.mark.parametrize("name", OPERATIONS[:-1])  # a cutout is at a random place
def test_operations_and_their_values_are_bcls(golden, name):
    magnitudes = torch.tensor([5.0, 10.0, 20.0, 30.0], dtype=torch.float64)
    params = _only(name, magnitudes)
    images = torch.from_numpy(golden["aug_image"]).permute(2, 0, 1).expand(4, 3, 32, 32)
    ours = _run(images, params).permute(0, 2, 3, 1).numpy()
    for i, m in enumerate((5, 10, 20, 30)):
        assert params.value[i].item() == golden[f"augv_{name}_{m}"]
        # to the last of the 1024 pixels: neither the nearest neighbour nor a rounding differs anywhere
        assert np.array_equal(ours[i], golden[f"aug_{name}_{m}"])


@pytest.mark.parametrize("size", [16, 25, 32])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_equal_pillows_at_any_magnitude(photographs, name, size):
    images = photographs[:, :, :size, :size]
    magnitudes = 30 * torch.rand(len(images), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for negative in (False, True) if name in OPERATIONS[:SIGNED] else (False,):
        params = _only(name, magnitudes, negative)
        assert torch.equal(_run(images, params), _pillows(images, params).float())


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize"])
def test_histograms_of_few_levels(name):
    generator = torch.Generator().manual_seed(0)
    flat = torch.randint(0, 256, (8, 3, 1, 1), generator=generator).expand(8, 3, 16, 16)
    two = torch.where(torch.rand(8, 3, 16, 16, generator=generator) < 0.5, 17, 18)
    rare = torch.where(torch.arange(256).view(16, 16) == 0, flat, 200)
    images = torch.cat([flat, two, rare])
    params = _only(name, torch.zeros(len(images), dtype=torch.float64))
    assert torch.equal(_run(images, params), _pillows(images, params).float())


@pytest.mark.parametrize("spec", [BCL_I, BCL_D, LARGE_SCALE])
def test_each_image_of_a_batch_has_its_own_operations_in_turn(photographs, spec):
    params = _params(spec, torch.full((len(photographs),), 0.7))[0]
    ours = _run(photographs, params)
    assert torch.equal(ours, _pillows(photographs, params).float())
    idle = ~params.applied.any(dim=1)
    assert 0 < idle.sum() < len(photographs)
    assert torch.equal(ours[idle], photographs[idle].float())


def test_a_cutout_of_no_size_is_none(photographs):
    params = _only("Cutout", torch.zeros(len(photographs), dtype=torch.float64))
    assert torch.equal(_run(photographs, params), photographs.float())


@pytest.mark.parametrize("spec", [BCL_I, BCL_D])
def test_an_operation_is_applied_with_the_probability_that_the_strength_is(spec):
    strength = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0]).repeat_interleave(4000)
    one, other = _params(spec, strength, views=2)
    for params in (one, other):
        for rate in (0.0, 0.2, 0.5, 0.9, 1.0):
            drawn = params.applied[strength == rate].double().mean(dim=0)
            assert (drawn - rate).abs().max() <= 4 * (rate * (1 - rate) / 4000) ** 0.5
    # the views decide apart, and so do the places
    middle = strength == 0.5
    assert abs((one.applied[middle] == other.applied[middle]).double().mean().item() - 0.5) < 0.04
    if spec.operations == 2:
        assert abs(one.applied[middle].all(dim=1).double().mean().item() - 0.25) < 0.03


def test_operations_signs_and_centres_are_uniform_and_drawn_a_view():
    one, other = _params(BCL_D, torch.full((15_000,), 0.5), views=2)
    for params in (one, other):
        for k in range(2):
            assert chisquare(params.operation[:, k].bincount(minlength=15).numpy()).pvalue > 1e-3
        negative = params.value < 0
        assert not negative[params.operation >= SIGNED].any()
        assert abs(negative[params.operation < SIGNED].double().mean().item() - 0.5) < 0.03
        for axis in range(2):
            assert ks_2samp(params.centre[:, 0, axis].numpy(), np.random.RandomState(0).rand(15_000)).pvalue > 1e-3
    # with replacement, and nothing but the u of magnitudes shared
    for a, b in ((one.operation[:, 0], one.operation[:, 1]), (one.operation[:, 0], other.operation[:, 0])):
        assert abs((a == b).double().mean().item() - 1 / 15) < 0.01
    assert not torch.equal(one.centre, other.centre)


def test_magnitude_of_bcl_i_follows_the_strength_alone():
    strength = torch.rand(2000, generator=torch.Generator().manual_seed(0)).double()
    for params in _params(BCL_I, strength, views=2):
        assert torch.allclose(_magnitudes(params)[:, 0], 10 + 20 * strength)


@pytest.mark.parametrize(("spec", "weakest", "span"), [(BCL_D, 5, 25), (LARGE_SCALE, 0, 30)])
def test_magnitude_of_two_operations_shares_one_number_between_views(spec, weakest, span):
    strength = 0.1 + 0.9 * torch.rand(4000, generator=torch.Generator().manual_seed(0)).double()
    one, other = (_magnitudes(params) for params in _params(spec, strength, views=2))
    u = (one - weakest) / (span * strength[:, None])
    assert torch.allclose(one, one[:, :1].expand(-1, 2))
    assert torch.allclose(one, other)
    assert ks_2samp(u[:, 0].numpy(), np.random.RandomState(0).rand(4000)).pvalue > 1e-3


def test_strengths_change_nothing_but_the_operations():
    views = [View(randaugment=BCL_D), View(gray_p=0.5), View(randaugment=BCL_I)]
    plain = _draw([dataclasses.replace(view, randaugment=None) for view in views], 64, 5)
    with_operations = _draw(views, 64, 5, torch.ones(64))
    assert [params.operation.shape[1] for params in with_operations] == [2, 0, 1]
    for name in ("box", "flip", "jitter", "order", "factor", "gray"):
        for a, b in zip(plain, with_operations, strict=True):
            assert torch.equal(getattr(a, name), getattr(b, name))


def test_parameters_of_batches_join():
    parts = _params(BCL_D, torch.rand(6), views=2)
    joined = Params.concatenate(parts)
    for field in dataclasses.fields(Params):
        assert torch.equal(getattr(joined, field.name)[6:], getattr(parts[1], field.name))


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("joined_pixels", [0, 10**9])
@pytest.mark.parametrize("spec", [BCL_I, BCL_D])
def test_views_are_plain_where_nothing_hits_and_pillows_where_it_does(photographs, monkeypatch, spec, joined_pixels, size):
    monkeypatch.setattr(postprocess, "JOINED_PIXELS", joined_pixels)
    plain = TorchViews((View(), View()))(photographs, 3, size)
    backend = TorchViews((View(randaugment=spec), View(randaugment=spec)))
    for strength in (None, torch.zeros(len(photographs))):
        assert all(torch.equal(a, b) for a, b in zip(backend(photographs, 3, size, strength), plain, strict=True))

    strength = torch.rand(len(photographs), generator=torch.Generator().manual_seed(0))
    ours = backend(photographs, 3, size, strength)
    drawn = _draw(backend.views, len(photographs), 3, strength)
    mean, std = (torch.tensor(statistic)[:, None, None] for statistic in (View().mean, View().std))
    for view, base, params in zip(ours, plain, drawn, strict=True):
        hit = params.applied.any(dim=1)
        assert 0.2 < hit.double().mean() < 0.9
        assert torch.equal(view[~hit], base[~hit])
        levels = (base.double() * std + mean) * 255
        expected = (_pillows(levels.round(), params) / 255 - mean) / std
        # but for images with a pixel so near to a half that float32 may round it the other way
        sure = hit & ((levels - levels.floor() - 0.5).abs() > 3e-5).flatten(1).all(dim=1)
        assert sure.sum() > 0.7 * hit.sum()
        assert (view[sure] - expected[sure]).abs().max() < 1e-5


def test_views_may_differ_in_their_randaugment(photographs):
    views = (View(randaugment=BCL_I, mean=(0, 0, 0)), View(), View(randaugment=BCL_D))
    made = TorchViews(views)(photographs, 0, 24, torch.ones(len(photographs)))
    plain = TorchViews(tuple(dataclasses.replace(view, randaugment=None) for view in views))(photographs, 0, 24)
    changed = [(a != b).flatten(1).any(dim=1).double().mean().item() for a, b in zip(made, plain, strict=True)]
    assert changed[0] > 0.9
    assert changed[1] == 0
    assert changed[2] > 0.9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_numbers(photographs):
    params = _params(BCL_D, torch.ones(len(photographs)))[0]
    assert torch.equal(_run(photographs.cuda(), params).cpu(), _run(photographs, params))
