"""Features of a frozen backbone: images, augmentation, order and precision."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from backbones.corpus import Corpus
from core.errors import UserError
from data.benchmark import Images
from data.image_files import ImageFiles
from data.lists.longtail import IndexLists
from data.views.spec import Evaluation
from data.views.torch_backend import TorchViews
from data.views.weak_augmentation import shifted
from eval.features import BLOCK, FrozenFeatures, LabelledFeatures, ProgressCounter
from tests.eval.synthetic_features import synthetic_split

EVALUATION = Evaluation(mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))  # pixel values 0 to 255
ORDER = np.arange(100)
LISTS = IndexLists(ORDER, ORDER, ORDER[:5], ORDER[:60], ORDER[60:90])


@pytest.fixture
def make(photographs):
    def make(network=None, needs=("train", "val"), precision="fp32", report=lambda done, total: None):
        pixels = photographs.numpy()
        labels = np.arange(len(pixels)) % 3
        images = Images(pixels[:200], labels[:200], pixels[200:], labels[200:])
        corpus = Corpus(photographs[:200], TorchViews(()), EVALUATION, precision=precision)
        return FrozenFeatures(
            network or nn.Flatten(), synthetic_split(images, LISTS, 3), corpus, needs, ProgressCounter(report)
        )

    return make


def test_unaugmented_features_are_in_the_order_of_the_indices(make, photographs):
    rows = make().unaugmented(np.array([70, 3, 3]))
    assert torch.allclose(rows[:][0], photographs[[70, 3, 3]].flatten(1).float(), atol=1e-3)
    assert rows[:][1].tolist() == [70 % 3, 0, 0]
    assert torch.allclose(make().test[:][0], photographs[200:].flatten(1).float(), atol=1e-3)


def test_the_network_is_in_eval_mode_and_gets_normalised_images(make, photographs):
    network = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).train()
    found, _ = make(network).unaugmented(ORDER[:90])[:]
    mean = photographs[:90].float().mean(dim=(2, 3))  # initial running statistics are 0 and 1
    assert torch.allclose(found, mean, rtol=1e-4)
    assert network[0].num_batches_tracked == 0


def test_images_outside_the_needed_lists_are_not_extracted(make):
    seen = []
    frozen = make(nn.Sequential(Counting(seen), nn.Flatten()), needs=("val",))
    assert sum(seen) == 30 + len(frozen.test)
    with pytest.raises(ValueError, match="no features for images outside the index lists"):
        frozen.unaugmented(LISTS.train)


@pytest.mark.parametrize(("mode", "remedy"), [("F", "convert"), ("I", "convert"), (None, "restore")])
def test_an_image_that_a_probe_cannot_read_is_named_with_what_to_do(tmp_path, mode, remedy):
    file = tmp_path / "x.tiff"
    if mode:
        Image.new(mode, (40, 40)).save(file)
    files, labels = ImageFiles([file] * 3), np.zeros(3, dtype=np.int64)
    split = synthetic_split(Images(files, labels, files, labels), IndexLists(*[np.arange(3)] * 5), 1)
    corpus = Corpus(files, TorchViews(()), Evaluation(resize=36, crop=32))
    with pytest.raises(UserError, match=rf"^cannot read an image file that the probes use; {remedy} it: .*x\.tiff \("):
        FrozenFeatures(nn.Flatten(), split, corpus, ("train",), ProgressCounter(lambda done, total: None))


def test_augmented_batches_are_full_except_the_last(make, photographs):
    order = np.array([5, 1, 59, 8, 2, 30, 31])
    batches = list(make().augmented_batches(order, seed=9, batch=3))
    assert [len(y) for _, y in batches] == [3, 3, 1]
    assert torch.cat([y for _, y in batches]).tolist() == (order % 3).tolist()
    x = torch.cat([x for x, _ in batches])
    assert not torch.allclose(x, photographs[order].flatten(1).float())
    again, other = (torch.cat([x for x, _ in make().augmented_batches(order, seed, batch=2)]) for seed in (9, 10))
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    x[0].add_(torch.zeros(1, requires_grad=True))  # gradients are enabled in the caller


def test_augmented_passes_differ_by_purpose_and_number(make):
    frozen = make()
    first, again, second, other = (
        frozen.augmented(LISTS.train, 0, purpose, draw).bank for purpose, draw in (("a", 1), ("a", 1), ("a", 2), ("b", 1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_last_augmented_pass_is_cached(make):
    seen = []
    frozen = make(nn.Sequential(Counting(seen), nn.Flatten()))
    before = sum(seen)
    first, again = (frozen.augmented(LISTS.train, 0, "ts") for _ in range(2))
    assert first.bank is again.bank
    assert sum(seen) == before + 60
    frozen.augmented(LISTS.val, 0, "ts")
    assert sum(seen) == before + 90


def test_features_in_float32_do_not_depend_on_the_precision_of_the_run(make):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 8))
    rounded, plain = make(network, precision="bf16"), make(network)
    assert not torch.equal(rounded.test.bank, plain.test.bank)
    assert torch.equal(rounded.in_fp32(("val",)).test.bank, plain.test.bank)
    assert plain.in_fp32(("val",)) is plain


def test_progress_total_includes_expected_images(make):
    seen = []
    frozen = make(report=lambda *progress: seen.append(progress))
    size = 90 + len(frozen.test)
    assert seen[-1] == (size, size)
    frozen.counter.expect(20)
    list(frozen.augmented_batches(ORDER[:10], 0, 5))
    assert seen[-1] == (size + 10, size + 20)
    list(frozen.augmented_batches(ORDER[:10], 0, 5))
    list(frozen.augmented_batches(ORDER[:7], 0, 5))
    assert seen[-1] == (size + 27, size + 27)


def test_blocks_have_bounded_size():
    bank = torch.arange(2 * BLOCK + 5.0)[:, None]
    rows = LabelledFeatures(bank, torch.arange(len(bank)).flip(0), torch.zeros(len(bank), dtype=torch.int64))
    blocks = [x for x, _ in rows.blocks()]
    assert max(map(len, blocks)) == BLOCK
    assert torch.equal(torch.cat(blocks), bank.flip(0))


def test_weak_augmentation_is_a_padded_crop_and_a_flip(photographs):
    made = shifted(photographs[:64], seed=3)
    stream = np.random.default_rng(3)
    tops, lefts, mirrored = stream.integers(0, 9, 64), stream.integers(0, 9, 64), stream.random(64) < 0.5
    for image, view, top, left, mirror in zip(photographs, made, tops, lefts, mirrored, strict=False):
        padded = np.zeros((3, 40, 40), dtype=np.uint8)
        padded[:, 4:36, 4:36] = image.numpy()
        expected = padded[:, top : top + 32, left : left + 32]
        assert np.array_equal(view.numpy(), expected[:, :, ::-1] if mirror else expected)
    assert 20 < mirrored.sum() < 44
    assert {*tops} == {*lefts} == set(range(9))


class Counting(nn.Module):
    """Identity that records batch sizes."""

    def __init__(self, seen: list[int]):
        super().__init__()
        self.seen = seen

    def forward(self, x):
        self.seen.append(len(x))
        return x


def test_features_that_are_not_finite_are_an_error(make):
    with pytest.raises(UserError, match="features that are not finite"):
        make(nn.Sequential(nn.Flatten(), Constant(float("nan"))))


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.full_like(x, self.value)
