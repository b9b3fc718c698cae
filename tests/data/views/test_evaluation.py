import numpy as np
import pytest
import torch
from PIL import Image

from data.image_files import ImageFiles, Unreadable
from data.views.evaluation import evaluation_batches
from data.views.spec import Evaluation
from data.views.torch_backend import TorchViews


def _pixels(count, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, (count, 3, 4, 4), dtype=np.uint8))


def test_input_images_are_not_modified():
    images = _pixels(5)
    before = images.clone()
    for batch in evaluation_batches(TorchViews(()), images, Evaluation()):
        batch.zero_()
    assert torch.equal(images, before)


def test_an_unreadable_file_is_replaced_by_black_or_raises(tmp_path):
    (tmp_path / "no.jpg").write_text("no image")
    Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])  # fails on decoding, the other file on reading
    images = ImageFiles([_pixels(1)[0].numpy(), tmp_path / "no.jpg", _pixels(1, seed=1)[0].numpy(), tmp_path / "cut.png"])
    evaluation = Evaluation(resize=4, crop=4, mean=(0, 0, 0), std=(1, 1, 1))
    rows = torch.cat(list(evaluation_batches(TorchViews(()), images, evaluation, black=True)))
    rows = rows.flatten(1)
    assert (rows[[1, 3]] == 0).all()
    assert torch.allclose(rows[2] * 255, _pixels(1, seed=1)[0].flatten().float(), atol=1e-3)
    with pytest.raises(Unreadable, match=r"no\.jpg"):
        list(evaluation_batches(TorchViews(()), images, evaluation))
