"""Backends on a simulated GPU: results are on the device, and there is no unnecessary synchronisation."""

from contextlib import nullcontext

import pytest
import torch

from data import loader
from data.image_files import ImageFiles
from data.views.backend import BACKENDS
from data.views.spec import CONTRASTIVE, Evaluation, RandAugment, View
from tests.fake_cuda import fake_cuda

ON_DEVICE = ("torch", "kornia")  # DALI's pipeline is built without a GPU in test_dali_backend.py; the reference is on the CPU
WAITING = ("kornia",)  # its operations look at the values of their arguments
STRONG = CONTRASTIVE.but(blur_p=0.5, solarize_p=0.5, randaugment=RandAugment(operations=2)).on(View())


@pytest.mark.parametrize("name", ON_DEVICE)
@pytest.mark.parametrize("views", [(View(), View()), (View(), STRONG), (STRONG, STRONG)], ids=["equal", "two", "strong"])
@pytest.mark.parametrize("memory", [True, False], ids=["in memory", "pictures"])
def test_views_are_made_on_the_device(name, views, memory, photographs):
    strength = torch.linspace(0, 1, 12) if STRONG in views else None
    with fake_cuda() as device:
        backend = BACKENDS[name](views, "cuda")
        if memory:
            with device.waits():  # once a run
                images = photographs[:12].to(backend.input_device)
        else:
            images = ImageFiles(list(photographs[:12].numpy()))
        with device.waits() if name in WAITING else nullcontext():
            backend(images, 3, 24, strength)  # keeps constants on the device
            device.uploads.clear()
            made = backend(images, 3, 24, strength)
        upload, *others = device.uploads
        assert upload.pinned
        assert name == "kornia" or not others  # its functions upload constants
        assert [(x.device.type, x.dtype, tuple(x.shape)) for x in made] == [("cuda", torch.float32, (12, 3, 24, 24))] * 2


@pytest.mark.parametrize("name", ON_DEVICE)
@pytest.mark.parametrize("evaluation", [Evaluation(), Evaluation(resize=28, crop=24)], ids=["as it is", "resized"])
def test_images_are_transformed_on_the_device(name, evaluation, photographs):
    with fake_cuda() as device:
        backend = BACKENDS[name]((), "cuda")
        with device.waits():
            images = photographs[:12].to(backend.input_device)
            x = backend.evaluate(images, evaluation)
        assert (x.device.type, tuple(x.shape)) == ("cuda", (12, 3, evaluation.crop or 32, evaluation.crop or 32))


@pytest.mark.parametrize("memory", [True, False], ids=["in memory", "pictures"])
def test_batches_are_on_the_device_without_waiting(memory, photographs, tmp_path):
    (tmp_path / "no.jpg").write_text("not an image")
    with fake_cuda() as device:
        backend = BACKENDS["torch"]([View(), STRONG], "cuda")
        if memory:
            with device.waits():
                images = photographs[:20].to(backend.input_device)
        else:
            images = ImageFiles([*photographs[:19].numpy(), tmp_path / "no.jpg"])
        with device.waits():  # once an epoch: its order goes to the device
            batches = loader.Loader(images, backend, 8, seed=0).epoch(
                0, 24, strength=lambda index: torch.linspace(0, 1, len(index))
            )
        made = list(batches)
    assert sum(len(batch.index) for batch in made) == (20 if memory else 19)
    assert {batch.index.device.type for batch in made} == {x.device.type for batch in made for x in batch.views} == {"cuda"}
