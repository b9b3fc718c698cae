"""OOD pools of image files: loading, validation, mixing with training images, decoding for in-memory benchmarks."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from backbones.corpus import Corpus
from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.image_files import ImageFiles
from data.loader import Loader
from data.pools.pool import POOLS, load_pool
from data.views.spec import Evaluation, View
from data.views.torch_backend import TorchViews

COUNT = 5


@pytest.fixture
def root(tmp_path, photographs, monkeypatch):
    """A data root with a tiny ImageNet-R and its list."""
    lines = []
    for k in range(COUNT):
        name = f"n{k % 2}/art_{k}.jpg"
        (tmp_path / "imagenet-r" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photographs[k].permute(1, 2, 0).numpy()).resize((60 + k, 50)).save(tmp_path / "imagenet-r" / name)
        lines.append(f"{name} {k % 2}\n")
    file = tmp_path / "lists" / "imagenet-r" / "imagenet-r.txt"
    file.parent.mkdir(parents=True)
    file.write_text("".join(lines))
    monkeypatch.setattr(POOLS["imagenet-r"], "count", COUNT)
    monkeypatch.setattr(POOLS["imagenet-r"], "list_sha256", hashlib.sha256(file.read_bytes()).hexdigest())
    return tmp_path


def test_a_listed_pool_stays_in_its_files(root):
    pool = load_pool("imagenet-r", None, root)
    assert isinstance(pool.images, ImageFiles)
    assert [name.removeprefix(f"{root}/imagenet-r/") for name in pool.images.names()][:2] == ["n0/art_0.jpg", "n1/art_1.jpg"]
    assert pool.about.startswith(f"imagenet-r, {COUNT} images, sha256 ")


def test_beside_images_in_memory_it_is_read_into_memory(root):
    pool = load_pool("imagenet-r", 16, root)
    assert isinstance(pool.images, np.ndarray)
    assert pool.images.shape == (COUNT, 3, 16, 16)
    assert pool.about == load_pool("imagenet-r", None, root).about


def test_what_is_wrong_with_it_is_reported(root):
    (root / "imagenet-r" / "n0" / "art_2.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of the 5 images of the pool imagenet-r is missing in .*: n0/art_2\.jpg; restore"):
        load_pool("imagenet-r", None, root)
    file = root / "lists" / "imagenet-r" / "imagenet-r.txt"
    file.write_text(file.read_text() + "n0/more.jpg 0\n")
    with pytest.raises(
        UserError, match=r"imagenet-r\.txt is truncated or not the index file of the pool imagenet-r: .*; delete it"
    ):
        load_pool("imagenet-r", None, root)
    with pytest.raises(UserError, match=r"the pool places69 needs its images in .*places69; put them there"):
        load_pool("places69", None, root)


def test_images_are_taken_embedded_and_mixed_among_others(root, photographs):
    pictures = load_pool("imagenet-r", None, root).images
    corpus = Corpus(pictures[:2], TorchViews(()), Evaluation(resize=24, crop=16), pool=pictures)
    rows = torch.cat(list(corpus.embed(nn.Flatten(), pictures)))
    assert rows.shape == (COUNT, 3 * 16 * 16)
    taken = corpus.take(torch.tensor([4, 0]))
    assert isinstance(taken, ImageFiles)
    assert [name.rsplit("/", 1)[1] for name in taken.names()] == ["art_4.jpg", "art_0.jpg"]
    loader = Loader(pictures[:3], TorchViews((View(),)), batch_size=4, seed=0)
    index = torch.cat([batch.index for batch in loader.epoch(0, size=16, extra=taken)])
    assert sorted(index.tolist()) == [-1, -1, 0, 1, 2]
    in_memory = Loader(photographs[:3], TorchViews((View(),)), batch_size=4, seed=0)
    with pytest.raises(ValueError, match="cannot be added to in-memory images"):
        next(iter(in_memory.epoch(0, size=16, extra=taken)))


def test_the_field_s_pool_is_preferred_by_its_benchmark():
    assert BENCHMARKS["imagenet100lt"].pools[0] == "imagenet-r"
    assert BENCHMARKS["placeslt"].pools[0] == "places69"
    assert BENCHMARKS["cifar10lt"].pools == ("300k", "cifar100")
    assert all(name in POOLS for _, benchmark in BENCHMARKS for name in benchmark.pools)
