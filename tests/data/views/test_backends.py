"""Every augmentation backend against torchvision: per pixel with equal parameters, by statistics with independent ones."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.stats import ks_2samp
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from benchmarks.views_parity import CASES, FULL, NOTHING, levels_of
from data.benchmark import BENCHMARKS
from data.image_files import ImageFiles
from data.loader import Loader
from data.root import data_folder
from data.views.backend import BACKENDS
from data.views.params import Params, draw_batch
from data.views.spec import Evaluation, View
from data.views.torchvision_backend import TorchvisionViews

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}
# grey levels: the limit of every mean difference, and of the differences that an operation is known to have
LIMIT = 1.5
SAME = {"nothing", "flip", "solarize", "RandAugment, 1", "RandAugment, 2"}  # to the last grey level
MEANS = {"crop": 0.6, "brightness": 0.6, "contrast": 0.6, "saturation": 0.6, "hue": 0.5, "gray": 0.3, "blur": 0.8}
# of a thousand pixels all but one; crops by DALI differ at their edges, kornia's blur of less than half a pixel is weaker
TAILS = {"crop": 1.5, "brightness": 1.5, "contrast": 1.5, "saturation": 1.5, "hue": 8, "gray": 1, "blur": 4, "jitter": 10}
WIDER = {("dali", "crop"): 7, ("kornia", "blur"): 15}


@pytest.fixture(params=BACKENDS.names())
def name(request):
    missing = BACKENDS[request.param].missing_dependency()
    if missing:
        pytest.skip(missing)
    return request.param


@pytest.fixture(scope="session")
def cifar10_sample():
    """500 test images of CIFAR-10, uint8 (N, 3, 32, 32); fetched where they are not there."""
    return torch.from_numpy(BENCHMARKS["cifar10lt"]().load(data_folder(None)).test[::20])


@pytest.fixture(scope="session")
def reference():
    """Grey levels of a case by torchvision, made once for all backends."""
    made = {}

    def get(case, images):
        key = (case, len(images))
        if key not in made:
            made[key] = levels_of("torchvision", CASES[case][0], images, CASES[case][1])
        return made[key]

    return get


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Image files of several sizes and modes from scikit-learn's photographs."""
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("pictures")
    one, other = (Image.fromarray(pixels) for pixels in load_sample_images().images)
    for picture, file in (
        (one, "rgb.jpg"),
        (other.crop((0, 0, 300, 260)), "rgb.png"),
        (one.convert("L").crop((50, 0, 310, 420)), "grey.jpg"),
        (other.convert("CMYK").resize((280, 300)), "cmyk.jpg"),
        (other.quantize(64), "palette.png"),
        (one.crop((0, 100, 600, 360)).convert("RGBA"), "alpha.png"),
    ):
        picture.save(folder / file)
    return sorted(folder.iterdir())


def _pil(images):
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]


def _opened(files):
    return [Image.open(file).convert("RGB") for file in files]


@pytest.mark.parametrize("images", ["photographs", pytest.param("cifar10_sample", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES)
def test_views_are_torchvisions_on_the_same_draws(name, case, images, reference, request):
    view, size = CASES[case]
    kind = case.split()[0]
    images = request.getfixturevalue(images)
    theirs = reference(case, images)
    ours = levels_of(name, view, images, size)
    off = (ours - theirs).abs()
    assert off.mean() < MEANS.get(kind, LIMIT)
    if case in SAME:
        assert torch.equal(ours.round(), theirs.round())
    if kind in TAILS:
        assert (off > WIDER.get((name, kind), TAILS[kind])).double().mean() < 1e-3
    if case != "nothing" and size == 32:  # that the case does something, and more than it differs by
        assert (theirs - images).abs().mean() > 4 * off.mean()


def test_normalisation_is_subtracted_and_divided(name, photographs):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    plain, normalised = (BACKENDS[name]([v])(photographs, 0, 32)[0] for v in (FULL, View(mean=mean, std=std)))
    expected = transforms.functional.normalize(plain, mean, std)
    assert normalised.dtype == torch.float32
    assert normalised.shape == (len(photographs), 3, 32, 32)
    assert torch.allclose(normalised, expected, atol=1e-5)


def test_the_reference_is_torchvisions_own_transforms(photographs):
    """Draws that torchvision's transforms would make, given to the reference: the same bits."""
    view = View()
    jitter = transforms.ColorJitter(view.brightness, view.contrast, view.saturation, view.hue)
    own = transforms.Compose(
        [
            transforms.RandomResizedCrop(24, view.crop_scale, view.crop_ratio, InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(p=1),
            jitter,
            transforms.RandomGrayscale(p=1),
            transforms.RandomSolarize(128, p=1),
            transforms.ToTensor(),
            transforms.Normalize(view.mean, view.std),
        ]
    )
    pictures = _pil(photographs[:32])
    yes, none = torch.ones(1, dtype=torch.bool), torch.empty(1, 0)
    theirs, params = [], []
    for i, picture in enumerate(pictures):
        torch.manual_seed(i)
        theirs.append(own(picture))
        torch.manual_seed(i)
        box = transforms.RandomResizedCrop.get_params(picture, view.crop_scale, view.crop_ratio)
        torch.rand(1)  # whether to flip
        order, *factor = transforms.ColorJitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        drawn = (torch.tensor([box]), yes, yes, order[None], torch.tensor([factor]), yes, torch.zeros(1), yes)
        params.append(Params(*drawn, none.long(), none.bool(), none.double(), none[..., None].double()))
    (ours,) = TorchvisionViews([view]).render(photographs[:32], [Params.concatenate(params)], 24)
    assert torch.equal(ours, torch.stack(theirs))


def test_composed_views_have_torchvisions_statistics(name, photographs):
    """Each side draws for itself: what no comparison on the same draws can find is wrong, the draws, would show here."""
    view, size, rounds = View(blur_p=0.5, solarize_p=0.2), 24, 4
    radius = torch.distributions.Uniform(*view.blur_sigma)
    composed = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, view.crop_scale, interpolation=InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply([lambda picture: picture.filter(ImageFilter.GaussianBlur(radius.sample().item()))], p=0.5),
            transforms.RandomSolarize(128, p=0.2),
            transforms.ToTensor(),
            transforms.Normalize(view.mean, view.std),
        ]
    )
    torch.manual_seed(0)
    theirs = torch.stack([composed(picture) for _ in range(rounds) for picture in _pil(photographs)])
    backend = BACKENDS[name]([view])
    ours = torch.cat([backend(photographs, seed, size)[0].clone() for seed in range(rounds)])
    statistics = [
        *(lambda x, c=c: x.mean(dim=(2, 3))[:, c] for c in range(3)),
        *(lambda x, c=c: x.var(dim=(2, 3))[:, c] for c in range(3)),
        lambda x: (x[:, :, 1:] - x[:, :, :-1]).abs().mean(dim=(1, 2, 3)),  # sharpness
        lambda x: (x[:, 0] - x[:, 2]).abs().mean(dim=(1, 2)),  # colour
    ]
    for statistic in statistics:
        a, b = statistic(ours).numpy(), statistic(theirs).numpy()
        assert ks_2samp(a, b, method="asymp").pvalue > 1e-3
        assert abs(a.mean() - b.mean()) < 3.5 * np.sqrt((a.var() + b.var()) / len(a))


def test_the_seed_alone_decides_the_views(name, photographs, files):
    backend = BACKENDS[name]((View(), View(blur_p=0.5)))
    before = torch.get_num_threads()
    for images in (photographs, ImageFiles(files)):
        first, again, other = ([view.clone() for view in backend(images, seed, 24)] for seed in (1, 1, 2))
        torch.set_num_threads(before + 1)
        with_threads = backend(images, 1, 24)
        torch.set_num_threads(before)
        for a, b, c in zip(first, again, with_threads, strict=True):
            assert torch.equal(a, b)
            assert torch.equal(a, c)
        assert not torch.equal(first[0], other[0])
        assert not torch.equal(first[0], first[1])


def test_an_image_keeps_its_view_whatever_else_is_in_the_batch(name, photographs):
    view = View(blur_p=0.5, solarize_p=0.2)
    side = torch.full((len(photographs),), 32)
    params = draw_batch([view], side, side, 0)[0]
    backend = BACKENDS[name]((view,))
    together = backend.render(photographs, [params], 32)[0].clone()
    for i in (5, 6, 7, 8):
        one = dataclasses.replace(params, **{f.name: getattr(params, f.name)[i : i + 1] for f in dataclasses.fields(params)})
        (alone,) = backend.render(photographs[i : i + 1], [one], 32)
        assert torch.allclose(alone[0], together[i], atol=1e-5)


@pytest.mark.parametrize("size", [96, 224])
def test_images_in_files_of_any_size_and_mode(name, files, size):
    view = dataclasses.replace(NOTHING, crop_scale=(0.08, 1), crop_ratio=(3 / 4, 4 / 3), flip_p=0.5)
    read = ImageFiles(files).read()
    ours, theirs = (levels_of(each, view, read, size, seeds=2) for each in (name, "torchvision"))
    if name in ("torch", "kornia"):  # Pillow crops for them too
        assert torch.equal(ours.round(), theirs.round())
    assert (ours - theirs).abs().mean(dim=(1, 2, 3)).max() < LIMIT
    ours, theirs = (levels_of(each, FULL, read, size, seeds=2) for each in (name, "torchvision"))
    assert (ours - theirs).abs().mean() < LIMIT
    # the reference against Pillow
    params = draw_batch([view], read.height, read.width, 1)[0]
    (reference,) = TorchvisionViews([view]).render(read, [dataclasses.replace(params, flip=torch.zeros(6) > 0)], size)
    for picture, box, made in zip(_opened(files), params.box.tolist(), reference, strict=True):
        cropped = transforms.functional.resized_crop(picture, *box, [size, size], InterpolationMode.BICUBIC)
        assert torch.equal(made, transforms.functional.to_tensor(cropped))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_evaluation_is_torchvisions(name, photographs, files, interpolation):
    wide = torch.cat([photographs, photographs.flip(3)], dim=3)[:, :, :, :52].repeat(1, 1, 2, 1)[:, :, :40]
    backend = BACKENDS[name]([View()])
    for images, pictures, resize, crop in (
        (wide, _pil(wide), 36, 32),
        (wide.transpose(2, 3).contiguous(), _pil(wide.transpose(2, 3)), 36, 32),
        (wide, _pil(wide), 24, None),
        (ImageFiles(files), _opened(files), 256, 224),
    ):
        evaluation = Evaluation(resize, crop, interpolation, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
        composed = transforms.Compose(
            [transforms.Resize(resize, MODES[interpolation], antialias=True), transforms.CenterCrop(crop or resize)]
        )
        theirs = torch.stack([transforms.functional.pil_to_tensor(composed(picture)) for picture in pictures])
        mean, std = (torch.tensor(values)[:, None, None] for values in (evaluation.mean, evaluation.std))
        ours = backend.evaluate(images, evaluation).cpu()
        off = ((ours * std + mean) * 255 - theirs).abs()
        assert ours.dtype == torch.float32
        assert off.mean() < (1e-4 if name == "torchvision" else 0.5)
        assert off.mean(dim=(1, 2, 3)).max() < LIMIT


def test_images_are_transformed_as_they_are_where_no_size_is_declared(name, photographs, files):
    backend = BACKENDS[name]([View()])
    evaluation = backend.evaluate(photographs, Evaluation(mean=(0, 0, 0), std=(1, 1, 1)))
    assert torch.allclose(evaluation.cpu(), photographs / 255)
    with pytest.raises(ValueError, match="different sizes"):
        backend.evaluate(ImageFiles(files), Evaluation())


def test_an_epoch_can_be_entered_in_the_middle(name, photographs, files):
    for images in (photographs[:40], ImageFiles(files)):
        size = len(images) // 3
        whole, rest = (Loader(images, BACKENDS[name]([View(), View()]), size, seed=4) for _ in range(2))
        late = list(rest.epoch(2, size=24, start=1))
        for a, b in zip(list(whole.epoch(2, size=24))[1:], late, strict=True):
            assert torch.equal(a.index, b.index)
            assert all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))
