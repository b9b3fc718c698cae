"""Views that backends render on a GPU against those on the CPU; skipped without a GPU."""

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.views_parity import CASES, FULL, levels_of
from data.image_files import ImageFiles, Unreadable
from data.views.backend import BACKENDS
from data.views.spec import Evaluation

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CUDA = torch.device("cuda")


@pytest.fixture(params=[name for name in BACKENDS.names() if name != "torchvision"])
def name(request):
    if reason := BACKENDS[request.param].missing_dependency(CUDA):
        pytest.skip(reason)
    return request.param


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    """JPEG files of several sizes, colour and grey, and a PNG."""
    folder = tmp_path_factory.mktemp("pictures")
    one, other = (Image.fromarray(pixels) for pixels in load_sample_images().images)
    one.save(folder / "one.jpg", quality=90)
    other.crop((0, 0, 300, 260)).save(folder / "other.jpg", quality=95)
    one.convert("L").crop((50, 0, 310, 420)).save(folder / "grey.jpg")
    other.resize((400, 380)).save(folder / "lossless.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("case", CASES)
def test_views_are_those_of_the_cpu(name, case, photographs):
    view, size = CASES[case]
    cpu, gpu = (levels_of(name, view, photographs, size, device=device) for device in ("cpu", "cuda"))
    off = (cpu - gpu).abs()
    assert off.mean() < 0.1
    assert (off > 2).float().mean() < 0.002


def test_views_of_files_are_those_of_the_cpu(name, jpegs):
    """The decoder of a GPU rounds differently."""
    cpu, gpu = (levels_of(name, FULL, ImageFiles(jpegs).read(), 224, device=device) for device in ("cpu", "cuda"))
    assert (cpu - gpu).abs().mean() < 1


def test_views_are_drawn_again(name, photographs, jpegs):
    for images in (photographs[:64], ImageFiles(jpegs)):
        backend = BACKENDS[name]((FULL, FULL), CUDA)
        made = [backend(images, 5, 32) for _ in range(2)]
        for first, second in zip(*made, strict=True):
            assert first.device.type == "cuda"
            assert torch.equal(first, second)


def test_views_stay_valid_while_later_batches_are_rendered(name, photographs):
    backend = BACKENDS[name]((FULL, FULL), CUDA)
    first = backend(photographs[:64], 0, 32)
    before = [view.clone() for view in first]
    for seed in range(1, 6):
        backend(photographs[64 : 64 + 32 * (1 + seed % 2)], seed, 32)
    assert all(torch.equal(a, b) for a, b in zip(first, before, strict=True))


@pytest.mark.parametrize("evaluation", [Evaluation(), Evaluation(resize=28, crop=24), Evaluation(resize=256, crop=224)])
def test_evaluation_images_are_those_of_the_cpu(name, evaluation, photographs, jpegs):
    images = ImageFiles(jpegs) if evaluation.crop == 224 else photographs[:32]
    cpu, gpu = (BACKENDS[name]((), device).evaluate(images, evaluation).cpu() for device in ("cpu", CUDA))
    assert cpu.shape == gpu.shape
    assert (cpu - gpu).abs().mean() * 255 * 0.25 < 1


@pytest.mark.parametrize("damage", ["cut", "no image"])
def test_damaged_files_are_named(name, damage, jpegs, tmp_path):
    whole = jpegs[-1].read_bytes()
    (tmp_path / "bad.jpg").write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"not an image")
    with pytest.raises(Unreadable, match=r"bad\.jpg"):
        BACKENDS[name]((FULL, FULL), CUDA)(ImageFiles([*jpegs, tmp_path / "bad.jpg"]), 0, 64)
