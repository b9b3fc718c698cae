import json

import numpy as np
import pytest

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.longtail import exponential_profile, fingerprint
from tests.conftest import GOLDEN

OFFICIAL = json.loads((GOLDEN / "cifar10_splits.json").read_text())


@pytest.mark.parametrize("split", range(1, 6))
def test_official_cifar10_lists_are_reproduced_to_the_byte(cifar10_labels, split):
    lists = BENCHMARKS["cifar10lt"]().lists(cifar10_labels, "sdclr", split)
    folder = f"cifar10_imbSub_with_subsets/split{split}_"
    for made, official in (
        (lists.pretrain, folder + "D_i.npy"),
        (lists.balanced, folder + "D_b.npy"),
        (lists.fewshot, folder + "S_b.npy"),
        (lists.train, "cifar10/trainIdxList.npy"),
        (lists.val, "cifar10/valIdxList.npy"),
    ):
        assert len(made) == OFFICIAL[official]["n"]
        assert fingerprint(made) == OFFICIAL[official]["sha256_int64_le"], official


def test_profile_cao_has_12406_images_from_5000_to_50(cifar10_labels):
    benchmark = BENCHMARKS["cifar10lt"]()
    lists = benchmark.lists(cifar10_labels, "cao", 1)
    counts = np.bincount(cifar10_labels[lists.pretrain])
    assert counts.tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert counts.sum() == 12_406 == benchmark.profiles["cao"].size
    # the first images of the reference's generator: np.random.seed(0), then a shuffle of each class in order
    np.random.seed(0)
    airplanes = np.flatnonzero(cifar10_labels == 0)
    np.random.shuffle(airplanes)
    assert lists.pretrain[:5000].tolist() == airplanes.tolist()


@pytest.mark.parametrize(("name", "profile"), [("cifar10lt", "sdclr"), ("cifar10lt", "cao"), ("digitslt", "own")])
def test_lists_are_what_their_declaration_says(name, profile, cifar10_labels, tmp_path):
    benchmark = BENCHMARKS[name]()
    labels = cifar10_labels if name == "cifar10lt" else benchmark.load(tmp_path).train_labels
    declared = benchmark.profiles[profile]
    seen = set()
    for split in range(1, declared.splits + 1):
        lists = benchmark.lists(labels, profile, split)
        for indices in vars(lists).values():
            assert len(set(indices.tolist())) == len(indices)
            assert indices.min() >= 0
            assert indices.max() < len(labels)
        assert sorted(np.bincount(labels[lists.pretrain]), reverse=True) == list(declared.counts)
        assert len(set(np.bincount(labels[lists.balanced]))) == 1
        assert abs(len(lists.balanced) - len(lists.pretrain)) < 10
        assert not set(lists.val) & (set(lists.train) | set(lists.fewshot))
        seen.add(fingerprint(lists.pretrain))
    assert len(seen) == declared.splits


def test_totals_of_other_ratios():
    assert [sum(exponential_profile(450, ratio, 100)) for ratio in (100, 50, 20, 10)] == [9754, 11349, 14315, 17614]
    assert [sum(exponential_profile(4500, ratio, 10)) for ratio in (100, 50, 20, 10)] == [11165, 12596, 15318, 18388]


def test_unknown_profile_is_told():
    with pytest.raises(UserError, match="cifar10lt has no profile 'coa'; did you mean 'cao'"):
        BENCHMARKS["cifar10lt"]().profile("coa")
