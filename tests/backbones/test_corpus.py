import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from backbones.corpus import Corpus
from data.image_files import ImageFiles
from data.views.evaluation import BATCH
from data.views.spec import Evaluation, View
from data.views.torch_backend import TorchViews


def _pixels(count, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).randint(0, 256, (count, 3, 4, 4), dtype=np.uint8))


def _corpus(images, evaluation=Evaluation(), **more):
    return Corpus(images, TorchViews(()), evaluation, **more)


def test_embed_passes_every_image_once_in_order_and_normalised():
    evaluation = Evaluation(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    images = _pixels(BATCH + 3)
    sizes = []

    def network(x):
        sizes.append(len(x))
        return x.flatten(1)

    rows = torch.cat(list(_corpus(images, evaluation).embed(network, images))).view(-1, 3, 4, 4)
    assert sizes == [BATCH, 3]
    for channel in range(3):
        expected = (images[:, channel].double() / 255 - evaluation.mean[channel]) / evaluation.std[channel]
        assert (rows[:, channel] - expected).abs().max() < 1e-6


def test_pools_may_be_read_only_memory_maps(tmp_path):
    pixels = _pixels(7).numpy()
    np.save(tmp_path / "pool.npy", pixels.transpose(0, 2, 3, 1))
    pool = np.load(tmp_path / "pool.npy", mmap_mode="r").transpose(0, 3, 1, 2)
    corpus = _corpus(_pixels(2), pool=pool)
    from_map = torch.cat(list(corpus.embed(nn.Flatten(), pool)))
    assert torch.equal(from_map, torch.cat(list(corpus.embed(nn.Flatten(), torch.from_numpy(pixels)))))
    taken = corpus.take(torch.tensor([6, 0, 0]))
    assert taken.dtype == torch.uint8
    assert np.array_equal(taken.numpy(), pixels[[6, 0, 0]])
    taken += 1  # `take` returns a copy
    assert np.array_equal(pool, pixels)


def test_take_without_a_pool_raises():
    with pytest.raises(ValueError, match="no OOD pool"):
        _corpus(_pixels(2)).take(torch.tensor([0]))


def test_outputs_are_float32_under_bf16_too():
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), _pixels(9)
    with torch.no_grad():
        exact, rounded = (
            torch.cat(list(_corpus(images, precision=precision).embed(network, images))) for precision in ("fp32", "bf16")
        )
    assert exact.dtype == rounded.dtype == torch.float32
    assert torch.equal(rounded, rounded.bfloat16().float())
    assert not torch.equal(exact, rounded)
    assert torch.allclose(exact, rounded, atol=0.05)


def test_views_of_training_are_embedded_from_files_too(tmp_path):
    """At the side of the evaluation transform; an unreadable file is a black image, as without augmentation."""
    files = [str(tmp_path / f"{number}.png") for number in range(4)]
    for number, file in enumerate(files):
        Image.fromarray(np.full((30, 40, 3), 50 * number, dtype=np.uint8)).save(file)
    (tmp_path / "2.png").write_bytes(b"")
    view = View(jitter_p=0.0, gray_p=0.0)
    corpus = Corpus(_pixels(2), TorchViews((view, view)), Evaluation(resize=20, crop=16))
    rows = torch.cat(list(corpus.embed(nn.Flatten(), ImageFiles(files), augmented=3, weak=False))).view(4, 3, 256)
    mean, std = torch.tensor(view.mean), torch.tensor(view.std)
    for row, level in zip(rows, (0, 50, 0, 150), strict=True):
        assert (row - ((level / 255 - mean) / std)[:, None]).abs().max() < 1e-5
