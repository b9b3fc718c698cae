import numpy as np
import pytest
import torch
from torch import nn

from data.corpus import BATCH, Corpus, normalized
from data.views import View


def _pixels(count, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, (count, 3, 4, 4), dtype=np.uint8))


def test_a_network_sees_every_image_once_in_order_and_normalised():
    view = View(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    images = _pixels(BATCH + 3)
    sizes = []

    def network(x):
        sizes.append(len(x))
        return x.flatten(1)

    rows = torch.cat(list(Corpus(images, view).embed(network, images))).view(-1, 3, 4, 4)
    assert sizes == [BATCH, 3]
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - view.mean[channel]) / view.std[channel]
        assert (rows[:, channel] - expected).abs().max() < 1e-6


def test_pools_may_be_read_only_maps(tmp_path):
    pixels = _pixels(7).numpy()
    np.save(tmp_path / "pool.npy", pixels.transpose(0, 2, 3, 1))
    pool = np.load(tmp_path / "pool.npy", mmap_mode="r").transpose(0, 3, 1, 2)
    corpus = Corpus(_pixels(2), View(), pool)
    from_map = torch.cat(list(corpus.embed(nn.Flatten(), pool)))
    assert torch.equal(from_map, torch.cat(list(corpus.embed(nn.Flatten(), torch.from_numpy(pixels)))))
    taken = corpus.take(torch.tensor([6, 0, 0]))
    assert taken.dtype == torch.uint8
    assert np.array_equal(taken.numpy(), pixels[[6, 0, 0]])
    taken += 1  # the images taken are a copy
    assert np.array_equal(pool, pixels)


def test_nothing_can_be_taken_where_there_is_no_pool():
    with pytest.raises(ValueError, match="no pool"):
        Corpus(_pixels(2), View()).take(torch.tensor([0]))


def test_rows_are_float32_under_bf16_too():
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), _pixels(9)
    with torch.no_grad():
        exact, rounded = (torch.cat(list(Corpus(images, View(), bf16=bf16).embed(network, images))) for bf16 in (False, True))
    assert exact.dtype == rounded.dtype == torch.float32
    assert torch.equal(rounded, rounded.bfloat16().float())
    assert not torch.equal(exact, rounded)
    assert torch.allclose(exact, rounded, atol=0.05)


def test_images_are_left_as_they_are():
    images = _pixels(5)
    before = images.clone()
    for batch in normalized(images, View(), images.device):
        batch.zero_()
    assert torch.equal(images, before)
