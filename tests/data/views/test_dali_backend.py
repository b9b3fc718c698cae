"""DALI backend against Pillow, torchvision and the torch backend with equal parameters."""

import dataclasses
import logging
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as F

from core.errors import UserError
from data.image_files import ImageFiles, Unreadable
from data.loader import Loader
from data.prefetch import prefetch
from data.rgb import to_rgb
from data.views import dali_backend
from data.views.backend import BACKENDS, choose_backend
from data.views.dali_backend import DaliViews
from data.views.evaluation import evaluation_batches
from data.views.params import draw_batch
from data.views.spec import Evaluation, RandAugment, View
from data.views.torch_backend import TorchViews

pytestmark = pytest.mark.skipif(DaliViews.missing_dependency() is not None, reason=str(DaliViews.missing_dependency()))

IMAGENETTE = Path(__file__).parents[4] / "shared" / "data" / "imagenette-lt"
STRONG = View(blur_p=0.5, solarize_p=0.2, randaugment=RandAugment(operations=2, weakest=5, span=25))
MODES = {"colour.jpg": "RGB", "grey.jpg": "L", "cmyk.jpg": "CMYK", "plain.png": "RGB", "alpha.png": "RGBA", "palette.png": "P"}


@pytest.fixture
def files(tmp_path):
    """Image files of several formats and sizes."""
    from sklearn.datasets import load_sample_images

    whole = Image.fromarray(load_sample_images().images[1])
    for k, (name, mode) in enumerate(MODES.items()):
        whole.resize((160 + 20 * k, 220 - 25 * k)).convert(mode).save(tmp_path / name)
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    whole.resize((150, 90)).save(tmp_path / "turned.jpg", exif=exif)
    deep = np.asarray(whole.resize((120, 100)).convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    return sorted(tmp_path.iterdir())


def _levels(a, b, view=View()):
    """Differences of normalised images in grey levels, (B, 3, H, W)."""
    return (a - b).abs() * torch.tensor(view.std)[:, None, None] * 255


def _sides(images):
    return torch.full((len(images),), images.shape[2]), torch.full((len(images),), images.shape[3])


def _with_threads(threads, function):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return function()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("size", [16, 24, 32, 48])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_crop_and_resize_equal_pillows(photographs, size, interpolation):
    plain = View(interpolation=interpolation, jitter_p=0, gray_p=0)
    (params,) = draw_batch((plain,), *_sides(photographs), seed=0)
    (made,) = DaliViews((plain,)).render(photographs, [params], size)
    mode = transforms.InterpolationMode(interpolation)
    theirs = []
    for image, box, flip in zip(photographs, params.box.tolist(), params.flip.tolist(), strict=True):
        cropped = F.resized_crop(F.to_pil_image(image), *box, [size, size], mode)
        theirs.append(F.to_tensor(F.hflip(cropped) if flip else cropped))
    difference = _levels(made, F.normalize(torch.stack(theirs), plain.mean, plain.std))
    assert difference.mean() < 0.25  # measured: 0.13 to 0.20
    assert (difference > 3.5).double().mean() < 5e-3  # near the edges of crops, and where bicubic overshoots


def test_a_crop_of_the_whole_image_changes_nothing(photographs):
    plain = View(crop_scale=(1, 1), crop_ratio=(1, 1), flip_p=0, jitter_p=0, gray_p=0, mean=(0, 0, 0), std=(1, 1, 1))
    assert torch.equal(DaliViews((plain,))(photographs, seed=0, size=32)[0], photographs.float() / 255)


def test_whole_views_equal_those_by_torch(photographs):
    for views, strength in (((View(), View()), None), ((View(), STRONG), torch.linspace(0, 1, len(photographs)))):
        ours, theirs = (made(views)(photographs, 3, 32, strength) for made in (DaliViews, TorchViews))
        for a, b in zip(ours, theirs, strict=True):
            assert (a.shape, a.dtype) == (b.shape, torch.float32)
            difference = _levels(a, b)
            # measured: 0.23 and 0.37. Solarize, posterize and the like have thresholds that a rounding error crosses
            assert difference.mean() < 0.7
            assert difference.median() < 0.3


def test_strengths_of_the_images_reach_the_views(photographs):
    backend = DaliViews((STRONG,))
    plain = backend(photographs, 3, 24)[0]
    strength = torch.zeros(len(photographs))
    assert torch.equal(backend(photographs, 3, 24, strength)[0], plain)
    strength[::2] = 1
    hit = (backend(photographs, 3, 24, strength)[0] != plain).flatten(1).any(dim=1)
    assert not hit[1::2].any()
    assert hit[::2].double().mean() > 0.8


def test_every_kind_of_image_file_is_decoded_as_by_pillow(files):
    views = (View(), View(interpolation="bilinear"))
    for a, b in zip(*(made(views)(ImageFiles(files), 1, 48) for made in (DaliViews, TorchViews)), strict=True):
        difference = _levels(a, b).mean(dim=(1, 2, 3))
        for file, levels in zip(files, difference.tolist(), strict=True):
            assert levels < 0.6, file.name  # measured: up to 0.3


def test_evaluation_images_equal_torchvisions(files):
    evaluation = Evaluation(resize=256, crop=224)
    normalize = transforms.Normalize(evaluation.mean, evaluation.std)
    reference = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normalize])
    theirs = torch.stack([reference(to_rgb(Image.open(file))) for file in files])
    ours = DaliViews(()).evaluate(ImageFiles(files), evaluation)
    assert ours.shape == theirs.shape
    assert _levels(ours, theirs).mean() < 0.3  # measured: 0.2
    assert _levels(ours, theirs).max() < 3
    with pytest.raises(ValueError, match="different sizes"):
        DaliViews(()).evaluate(ImageFiles(files), Evaluation())


def test_images_in_memory_are_transformed_as_they_are_or_resized(photographs):
    dali, by_torch = DaliViews(()), TorchViews(())
    assert torch.equal(dali.evaluate(photographs, Evaluation()), by_torch.evaluate(photographs, Evaluation()))
    evaluation = Evaluation(resize=48, crop=40, interpolation="bicubic")
    assert _levels(dali.evaluate(photographs, evaluation), by_torch.evaluate(photographs, evaluation)).mean() < 0.5


def test_damaged_images_are_skipped_named_and_counted(files, caplog):
    caplog.set_level(logging.WARNING)
    folder = files[0].parent
    whole = (folder / "colour.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / "text.jpg").write_text("not an image")
    damaged = [*files, folder / "cut.jpg", folder / "text.jpg"]
    loader = Loader(ImageFiles(damaged), DaliViews((View(), View())), batch_size=5, seed=0)
    batches = list(loader.epoch(0, size=32))
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(len(files)))
    assert all(len(view) == len(batch.index) for batch in batches for view in batch.views)
    assert loader.unreadable == {str(file) for file in damaged[-2:]}
    assert len(caplog.messages) == 2
    with pytest.raises(Unreadable, match="cut") as caught:
        DaliViews(()).evaluate(ImageFiles([files[0], folder / "cut.jpg"]), Evaluation(resize=40, crop=32))
    assert list(caught.value.reasons) == [1]


def test_what_dali_cannot_decode_is_decoded_by_pillow(files, caplog):
    caplog.set_level(logging.WARNING)
    Image.open(files[0]).convert("RGB").save(files[0].parent / "old.pcx")
    pictures = ImageFiles([*files, files[0].parent / "old.pcx"])
    backend = DaliViews((View(), View()))
    for _ in range(2):
        for a, b in zip(backend(pictures, 1, 32), TorchViews(backend.views)(pictures, 1, 32), strict=True):
            assert torch.equal(a, b)
    evaluation = Evaluation(resize=40, crop=32)
    assert torch.equal(backend.evaluate(pictures, evaluation), TorchViews(()).evaluate(pictures, evaluation))
    (message,) = caplog.messages
    assert message.startswith("batches with an image that DALI cannot decode are decoded by Pillow: nvImageCodec failure")
    assert backend(ImageFiles(files), 1, 32)[0].shape == (len(files), 3, 32, 32)  # DALI goes on with other batches


def test_other_failures_of_dali_are_not_passed_over(photographs):
    backend = DaliViews((View(),))
    (params,) = draw_batch(backend.views, *_sides(photographs), seed=0)
    outside = dataclasses.replace(params, box=params.box + torch.tensor([30, 0, 0, 0]))
    with pytest.raises(RuntimeError, match="slice"):
        backend.render(photographs, [outside], 16)
    assert backend.render(photographs, [params], 16)[0].isfinite().all()  # a pipeline that failed is made anew


def test_threads_change_nothing(photographs, files):
    for images in (photographs, ImageFiles(files)):
        one, two = (_with_threads(n, lambda images=images: DaliViews((View(), STRONG))(images, 5, 32)) for n in (1, 2))
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_an_epoch_entered_in_the_middle_goes_on_bit_by_bit(photographs, files):
    for images, batch_size in ((photographs[:50], 16), (ImageFiles(files), 3)):
        whole, rest = (Loader(images, DaliViews((View(), View())), batch_size, seed=3) for _ in range(2))
        full = list(whole.epoch(1, size=24))
        for a, b in zip(full[1:], rest.epoch(1, size=24, start=1), strict=True):
            assert torch.equal(a.index, b.index)
            assert all(torch.equal(x, y) for x, y in zip(a.views, b.views, strict=True))


def test_batches_of_any_size_from_one_pipeline_and_results_that_last(photographs, monkeypatch):
    built = []
    build = dali_backend.build
    monkeypatch.setattr(dali_backend, "build", lambda *arguments: built.append(arguments) or build(*arguments))
    backend = DaliViews((View(), View()))
    first = backend(photographs[:40], 1, 32)
    kept = [view.clone() for view in first]
    for count, size in ((40, 16), (7, 24), (1, 32), (40, 32)):
        assert all(view.shape == (count, 3, size, size) for view in backend(photographs[:count], 2, size))
    assert len(built) == 1
    backend(photographs[:41], 1, 32)
    assert len(built) == 2
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))


def test_pipelines_are_built_once_for_all_passes_of_probes(photographs, monkeypatch):
    built = []
    build = dali_backend.build
    monkeypatch.setattr(dali_backend, "build", lambda *arguments: built.append(arguments) or build(*arguments))
    monkeypatch.setattr("data.views.evaluation.BATCH", 10)
    backend, images = DaliViews((View(), View())), ImageFiles(list(photographs[:35].numpy()))
    for augmented in (None, 0, 1):
        for interpolation in ("bilinear", "bicubic"):
            transform = Evaluation(resize=30, crop=28, interpolation=interpolation)
            batches = list(evaluation_batches(backend, images, transform, augmented=augmented))
            assert [len(batch) for batch in batches] == [10, 10, 10, 5]
    assert len(built) == 4  # by transform and interpolation


@pytest.mark.parametrize("threads", [1, 2])
def test_a_pipeline_has_the_threads_of_this_process_also_in_the_thread_of_a_loader(threads, photographs, monkeypatch):
    used = []
    build = dali_backend.build
    monkeypatch.setattr(dali_backend, "build", lambda *arguments: used.append(arguments[2]) or build(*arguments))
    backend, images = DaliViews((View(),)), ImageFiles(list(photographs[:5].numpy()))
    batches = (backend(images, 0, 16) for _ in range(2))
    _with_threads(threads, lambda: list(prefetch(batches, torch.device("cpu"))))
    assert used == [threads]


def test_a_graph_for_the_gpu_is_made_of_its_operators():
    from data.views.dali.pipeline import cut_and_resize

    def graph(encoded, on_gpu):  # without a device, as there may be none here
        options = {"batch_size": 4, "num_threads": 1, "prefetch_queue_depth": 1}
        return cut_and_resize(encoded, on_gpu, ("bicubic", "bilinear"), **options).serialize()

    gpu, mixed = b"\x03gpu", b"\x05mixed"  # as strings stand in it, after their length
    for encoded in (False, True):
        assert gpu in graph(encoded, True)
        assert gpu not in graph(encoded, False)
    assert mixed in graph(True, True)  # the decoder
    assert mixed not in graph(True, False) + graph(False, True)
    # the decoder of an image, and its rounding, must not depend on the batch: all or none by the hardware decoder
    load = graph(True, True).partition(b"hw_decoder_load")[2]
    assert struct.unpack("<f", load[load.index(b"float") + 6 :][:4]) == (1.0,)
    assert DaliViews((), "cuda:0").input_device == torch.device("cuda:0")
    assert DaliViews(()).input_device == torch.device("cpu")


def test_a_truncated_jpeg_is_checked_before_a_gpu_decodes_it(files):
    whole = (files[0].parent / "colour.jpg").read_bytes()
    assert dali_backend._is_truncated(whole[:-2])
    assert not dali_backend._is_truncated(whole)
    assert not dali_backend._is_truncated(whole + bytes(20))  # cameras pad files


def test_without_dali_the_error_names_the_package(monkeypatch):
    assert "dali" in BACKENDS
    monkeypatch.setattr(dali_backend, "wheel", lambda: None)
    for cuda, package in ((None, "130"), ("12.8", "120"), ("13.0", "130")):
        monkeypatch.setattr(torch.version, "cuda", cuda)
        with pytest.raises(UserError, match=f"--views dali: DALI is not installed: pip install nvidia-dali-cuda{package}$"):
            choose_backend("dali", in_files=True, device=torch.device("cpu"))
    monkeypatch.setattr(dali_backend.sys, "platform", "darwin")
    assert DaliViews.missing_dependency() == "DALI exists for Linux only"


@pytest.mark.parametrize(("installed", "fine"), [("1.52.0", False), ("1.9", False), ("2.0.0", True), ("10.1", True)])
def test_versions_without_the_dynamic_executor_are_refused(installed, fine, monkeypatch):
    monkeypatch.setattr(dali_backend, "version", lambda package: installed)
    missing = DaliViews.missing_dependency()
    assert (missing is None) == fine
    assert fine or missing == f"nvidia-dali-cuda130 {installed} is older than 2.0: pip install 'nvidia-dali-cuda130>=2.0'"


def test_on_a_gpu_it_has_to_be_for_torchs_cuda(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(dali_backend, "version", lambda package: "2.0.0")
    monkeypatch.setattr(dali_backend, "wheel", lambda: "nvidia-dali-cuda130")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert choose_backend("auto", in_files=True, device=gpu)[0] == "dali"
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert choose_backend("dali", in_files=True, device=cpu)[0] == "dali"
    name, why = choose_backend("auto", in_files=True, device=gpu)
    assert name == "torch"
    assert why.endswith("pip uninstall nvidia-dali-cuda130 && pip install nvidia-dali-cuda120")


@pytest.mark.skipif(not IMAGENETTE.is_dir(), reason="the photographs of imagenette-lt are not here")
def test_real_photographs_in_files_give_the_views_by_torch():
    names = [line.split()[0] for line in (IMAGENETTE / "lt_train.txt").read_text().splitlines()[::80]]
    pictures = ImageFiles([IMAGENETTE / name for name in names])
    for a, b in zip(*(made((View(), View()))(pictures, 1, 112) for made in (DaliViews, TorchViews)), strict=True):
        assert _levels(a, b).mean() < 0.5  # measured: 0.2
    evaluation = Evaluation(resize=128, crop=112)
    assert _levels(*(made(()).evaluate(pictures, evaluation) for made in (DaliViews, TorchViews))).mean() < 0.3
