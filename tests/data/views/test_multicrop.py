"""Views of several sizes by every augmentation backend, against views of one size, torchvision and Pillow."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.views_parity import FULL
from commands.views import views as draw_views
from data.image_files import ImageFiles
from data.loader import Loader
from data.views.backend import BACKENDS, image_sizes
from data.views.params import draw_batch
from data.views.spec import CONTRASTIVE, SMALLEST, RandAugment, View

LARGE, SMALL = View(crop_scale=(0.2, 1.0)), View(crop_scale=(0.08, 0.5), relative_size=0.56)
STRONG = dataclasses.replace(SMALL, blur_p=0.5, solarize_p=0.2, randaugment=RandAugment(operations=2))
LIMIT = 1.5  # mean difference from torchvision in grey levels, as in test_backends.py


@pytest.fixture(params=BACKENDS.names())
def name(request):
    missing = BACKENDS[request.param].missing_dependency()
    if missing:
        pytest.skip(missing)
    return request.param


@pytest.fixture(scope="module")
def files(photographs, tmp_path_factory):
    """20 image files of several sizes."""
    folder = tmp_path_factory.mktemp("files")
    for number, image in enumerate(photographs[:20]):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((50 + number, 70 - number))
        picture.save(folder / f"{number:02}.png")
    return sorted(folder.iterdir())


def _images(kind, photographs, files):
    return photographs[:20] if kind == "in memory" else ImageFiles(files)


@pytest.mark.parametrize(
    ("relative", "size", "side"),
    [
        *[(1.0, size, size) for size in (2, 4, 16, 17, 224)],
        *[(0.56, 32, 18), (0.56, 24, 13), (0.56, 16, 9), (0.56, 8, SMALLEST), (0.56, 5, 5)],
        *[(0.43, 224, 96), (0.43, 112, 48), (0.43, 84, 36), (0.43, 56, 24)],
    ],
)
def test_sides(relative, size, side):
    assert View(relative_size=relative).side(size) == side


@pytest.mark.parametrize("kind", ["in memory", "files"])
@pytest.mark.parametrize("size", [24, 48])
def test_every_view_is_the_one_of_its_size_alone(name, kind, size, photographs, files):
    """Also with RandAugment, whose operations on views of one size are a batch."""
    specs = [LARGE, STRONG, SMALL, LARGE, STRONG, dataclasses.replace(STRONG, relative_size=1.0)]
    images = _images(kind, photographs, files)
    images = images.read() if kind == "files" else images
    drawn = draw_batch(specs, *image_sizes(images), 5, torch.linspace(0, 1, 20))
    together = BACKENDS[name](specs).render(images, drawn, size)
    for view, params, made in zip(specs, drawn, together, strict=True):
        side = view.side(size)
        (alone,) = BACKENDS[name]([dataclasses.replace(view, relative_size=1.0)]).render(images, [params], side)
        assert made.shape == (20, 3, side, side)
        assert torch.allclose(made, alone, atol=1e-5)


@pytest.mark.parametrize("kind", ["in memory", "files"])
def test_views_are_torchvisions_on_the_same_draws(name, kind, photographs, files):
    specs = [dataclasses.replace(FULL, crop_scale=view.crop_scale, relative_size=view.relative_size) for view in (LARGE, SMALL)]
    ours, theirs = (BACKENDS[each](specs)(_images(kind, photographs, files), 3, 32) for each in (name, "torchvision"))
    for a, b, side in zip(ours, theirs, (32, 18), strict=True):
        assert a.shape == b.shape == (20, 3, side, side)
        assert 255 * (a - b).abs().mean() < LIMIT


def test_the_size_of_a_view_changes_no_random_number(photographs):
    """Parameters of a seed, the same numbers as before views had a size."""
    side = torch.full((3,), 32)
    plain = draw_batch([View(), View(blur_p=0.5)], side, side, 7)
    resized = draw_batch([View(relative_size=0.3), View(blur_p=0.5, relative_size=0.6)], side, side, 7)
    for a, b in zip(plain, resized, strict=True):
        assert all(torch.equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    assert plain[0].box.tolist() == [[5, 0, 22, 27], [3, 0, 28, 32], [4, 0, 20, 25]]
    assert plain[1].sigma.tolist() == pytest.approx([0, 0, 0.5451085567474365])


def test_batches_have_views_of_several_sizes(name, photographs):
    views = [role.on(View()) for role in (CONTRASTIVE, CONTRASTIVE.but(relative_size=0.5, crop_scale=(0.05, 0.14)))]
    loader = Loader(photographs[:10], BACKENDS[name](views), 8, seed=0)
    for size in (16, 32):  # as in a run whose views grow
        shapes = [[tuple(view.shape) for view in batch.views] for batch in loader.epoch(0, size)]
        assert shapes == [[(count, 3, size, size), (count, 3, size // 2, size // 2)] for count in (8, 2)]
    assert [view.shape for view in loader.backend(photographs[:0], 0, 32)] == [(0, 3, 32, 32), (0, 3, 16, 16)]


def test_pictures_of_views_of_several_sizes(tmp_path):
    (file,) = [line for line in draw_views(["swav"], ["digitslt"], None, tmp_path, 2, 0) if line.endswith(".png")]
    with Image.open(file) as picture:
        assert np.asarray(picture.convert("RGB")).std() > 20
