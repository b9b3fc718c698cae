import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from backbones.corpus import BATCH, Corpus, show
from data.pictures import Pictures, Unreadable
from data.views.spec import Evaluation
from data.views.torch_executor import TorchViews


def _pixels(count, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, (count, 3, 4, 4), dtype=np.uint8))


def _corpus(images, shown=Evaluation(), **more):
    return Corpus(images, TorchViews(()), shown, **more)


def test_a_network_sees_every_image_once_in_order_and_normalised():
    shown = Evaluation(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    images = _pixels(BATCH + 3)
    sizes = []

    def network(x):
        sizes.append(len(x))
        return x.flatten(1)

    rows = torch.cat(list(_corpus(images, shown).embed(network, images))).view(-1, 3, 4, 4)
    assert sizes == [BATCH, 3]
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - shown.mean[channel]) / shown.std[channel]
        assert (rows[:, channel] - expected).abs().max() < 1e-6


def test_pools_may_be_read_only_maps(tmp_path):
    pixels = _pixels(7).numpy()
    np.save(tmp_path / "pool.npy", pixels.transpose(0, 2, 3, 1))
    pool = np.load(tmp_path / "pool.npy", mmap_mode="r").transpose(0, 3, 1, 2)
    corpus = _corpus(_pixels(2), pool=pool)
    from_map = torch.cat(list(corpus.embed(nn.Flatten(), pool)))
    assert torch.equal(from_map, torch.cat(list(corpus.embed(nn.Flatten(), torch.from_numpy(pixels)))))
    taken = corpus.take(torch.tensor([6, 0, 0]))
    assert taken.dtype == torch.uint8
    assert np.array_equal(taken.numpy(), pixels[[6, 0, 0]])
    taken += 1  # the images taken are a copy
    assert np.array_equal(pool, pixels)


def test_nothing_can_be_taken_where_there_is_no_pool():
    with pytest.raises(ValueError, match="no pool"):
        _corpus(_pixels(2)).take(torch.tensor([0]))


def test_rows_are_float32_under_bf16_too():
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), _pixels(9)
    with torch.no_grad():
        exact, rounded = (torch.cat(list(_corpus(images, bf16=bf16).embed(network, images))) for bf16 in (False, True))
    assert exact.dtype == rounded.dtype == torch.float32
    assert torch.equal(rounded, rounded.bfloat16().float())
    assert not torch.equal(exact, rounded)
    assert torch.allclose(exact, rounded, atol=0.05)


def test_images_are_left_as_they_are():
    images = _pixels(5)
    before = images.clone()
    for batch in show(TorchViews(()), images, Evaluation()):
        batch.zero_()
    assert torch.equal(images, before)


def test_a_picture_that_cannot_be_read_is_shown_black_or_told_of(tmp_path):
    (tmp_path / "no.jpg").write_text("no picture")
    Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])  # found out when it is decoded, the other when it is read
    images = Pictures([_pixels(1)[0].numpy(), tmp_path / "no.jpg", _pixels(1, seed=1)[0].numpy(), tmp_path / "cut.png"])
    shown = Evaluation(resize=4, crop=4, mean=(0, 0, 0), std=(1, 1, 1))
    rows = torch.cat(list(_corpus(images, shown).embed(nn.Flatten(), images)))
    assert (rows[[1, 3]] == 0).all()
    assert torch.allclose(rows[2] * 255, _pixels(1, seed=1)[0].flatten().float(), atol=1e-3)
    with pytest.raises(Unreadable, match=r"no\.jpg"):
        list(show(TorchViews(()), images, shown))
