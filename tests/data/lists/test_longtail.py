import json

import numpy as np
import pytest

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.lists.longtail import by_number, by_thirds, exponential_profile, fingerprint
from tests.conftest import GOLDEN

OFFICIAL = {name: json.loads((GOLDEN / f"{name}_splits.json").read_text()) for name in ("cifar10", "cifar100")}
PREFIX = {"cifar10": "", "cifar100": "cifar100_"}  # of the official files' names


@pytest.fixture
def labels(cifar10_labels, cifar100_labels):
    """Training labels by name of the CIFAR set or of its benchmark."""
    both = {"cifar10": cifar10_labels, "cifar100": cifar100_labels}
    return both | {f"{name}lt": values for name, values in both.items()}


@pytest.mark.parametrize("name", OFFICIAL)
def test_all_official_lists_are_reproduced_to_the_byte(labels, name):
    prefix, reproduced = PREFIX[name], set()
    for split in range(1, 6):
        lists = BENCHMARKS[f"{name}lt"]().lists(labels[name], "sdclr", split)
        of_split = f"{name}_imbSub_with_subsets/{prefix}split{split}_"
        for made, official in (
            (lists.pretrain, f"{of_split}D_i.npy"),
            (lists.balanced, f"{of_split}D_b.npy"),
            (lists.fewshot, f"{of_split}S_b.npy"),
            (lists.train, f"{name}/{prefix}trainIdxList.npy"),
            (lists.val, f"{name}/{prefix}valIdxList.npy"),
        ):
            assert len(made) == OFFICIAL[name][official]["n"]
            assert fingerprint(made) == OFFICIAL[name][official]["sha256_int64_le"], official
            reproduced.add(official)
    assert reproduced == set(OFFICIAL[name])
    assert len(reproduced) == 17


@pytest.mark.parametrize(
    ("name", "profile", "head", "total"),
    [
        ("cifar10", "cao", [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50], 12_406),
        ("cifar100", "gh", [500, 477, 455, 434], 10_847),
    ],
)
def test_caos_sets_are_their_generators(labels, name, profile, head, total):
    benchmark = BENCHMARKS[f"{name}lt"]()
    pretrain = benchmark.lists(labels[name], profile, 1).pretrain
    counts = np.bincount(labels[name][pretrain])
    assert counts[: len(head)].tolist() == head
    assert counts.tolist() == sorted(counts, reverse=True)
    assert counts.sum() == total == benchmark.size(profile)
    # the generator: np.random.seed(0), then a shuffle of each class in order
    np.random.seed(0)
    start = 0
    for c in range(3):
        indices = np.flatnonzero(labels[name] == c)
        np.random.shuffle(indices)
        assert pretrain[start : start + counts[c]].tolist() == indices[: counts[c]].tolist()
        start += counts[c]


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        (f"{name}lt", profile)
        for name in OFFICIAL
        for profile in ("sdclr", "balanced", "ir=50", "ir=12.5", "ir=20,n=9000", {"cifar10": "cao"}.get(name, "gh"))
    ]
    + [("digitslt", "own")],
)
def test_lists_are_what_their_declaration_says(name, profile, labels, tmp_path):
    benchmark = BENCHMARKS[name]()
    known = labels.get(name)
    known = benchmark.load(tmp_path).train_labels if known is None else known
    declared = benchmark.profiles[profile]
    seen = set()
    for split in range(1, min(declared.splits, 7) + 1):  # official ones, and some of this suite's
        lists = benchmark.lists(known, profile, split)
        for indices in vars(lists).values():
            assert len(set(indices.tolist())) == len(indices)
            assert indices.min() >= 0
            assert indices.max() < len(known)
        assert sorted(np.bincount(known[lists.pretrain]), reverse=True) == list(declared.counts)
        assert len(set(np.bincount(known[lists.balanced]))) == 1
        assert 0 <= len(lists.pretrain) - len(lists.balanced) < len(declared.counts)
        assert not set(lists.val) & (set(lists.train) | set(lists.fewshot))
        seen.add(fingerprint(lists.pretrain))
    assert len(seen) == min(declared.splits, 7)


@pytest.mark.parametrize(
    ("name", "totals"),
    [
        ("cifar10lt", {100: 11165, 50: 12596, 20: 15318, 10: 18388}),
        ("cifar100lt", {100: 9754, 50: 11349, 20: 14315, 10: 17614}),
    ],
)
def test_totals_of_other_ratios(labels, name, totals):
    benchmark = BENCHMARKS[name]()
    smaller: set[int] = set()
    for ratio, total in totals.items():
        profile = benchmark.profile(f"ir={ratio}")
        pretrain = set(benchmark.lists(labels[name], profile, 2).pretrain.tolist())
        assert benchmark.size(profile) == len(pretrain) == total
        assert smaller < pretrain  # a smaller ratio adds images and takes none away
        smaller = pretrain


def test_totals_without_held_out_images():
    assert [sum(exponential_profile(500, ratio, 100)) for ratio in (50, 20, 10)] == [12608, 15907, 19573]
    assert [sum(exponential_profile(5000, ratio, 10)) for ratio in (50, 20, 10)] == [13996, 17023, 20431]


def test_further_splits_stay_what_they_are(labels):
    sums = [fingerprint(BENCHMARKS[f"{name}lt"]().lists(labels[name], "sdclr", 6).pretrain) for name in OFFICIAL]
    assert [digest[:12] for digest in sums] == ["0657f56ada63", "0b0e98235094"]


@pytest.mark.parametrize(
    ("spelled", "profile"),
    [("ir=50", "ir=50"), ("ir=50.0", "ir=50"), ("ir=1e2", "sdclr"), ("ir=12.5", "ir=12.5"), ("ir=1", "ir=1")],
)
def test_a_ratio_has_one_name(spelled, profile):
    assert BENCHMARKS["cifar10lt"]().profile(spelled) == profile


@pytest.mark.parametrize(
    ("name", "profile", "said"),
    [
        ("cifar10lt", "exp-500-50", "cifar10lt has no variant 'exp-500-50'; did you mean 'exp-5000-50'"),
        ("cifar100lt", "cao", "cifar100lt has no variant 'cao'; choose from: balanced, exp-450-4, exp-500-5, ir=NUMBER"),
        ("digitslt", "ir=50", "digitslt has no variant 'ir=50'; choose from: own"),
        ("cifar10lt", "ir=0.5", "variant ir=0.5: .* a number of at least 1"),
        ("cifar10lt", "ir=nan", "variant ir=nan: .* a number of at least 1"),
        ("cifar10lt", "ir=inf", "variant ir=inf: .* a number of at least 1"),
        ("cifar10lt", "ir=abc", "variant ir=abc is not of the form ir=NUMBER"),
        ("cifar10lt", "ir=50,9000", "variant ir=50,9000 is not of the form ir=NUMBER,n=INTEGER"),
        ("cifar10lt", "ir=50,n=1e4", "is not of the form ir=NUMBER,n=INTEGER"),
        ("cifar10lt", "ir=50,n=-1", "is not of the form ir=NUMBER,n=INTEGER"),
        ("cifar10lt", "ir=100,n=12000", "needs more than the 4500 available .*; use a size of at most 11165"),
        ("cifar100lt", "ir=10,n=40000", "needs more than the 450 available images per class; use a size of at most 17614"),
        ("cifar100lt", "ir=100,n=2000", "variant ir=100,n=2000 leaves the smallest of 100 classes empty: .* or a larger size"),
        ("cifar10lt", "ir=1,n=9", "empty: the largest has 0 images, or a larger size"),
        ("cifar10lt", "ir=4501", "empty: the largest has 4,500 images; use a ratio of at most 4500"),
        ("cifar100lt", "ir=451", "leaves the smallest of 100 classes empty"),
    ],
)
def test_a_profile_that_cannot_be_is_reported(name, profile, said):
    with pytest.raises(UserError, match=said):
        BENCHMARKS[name]().profile(profile)


def test_other_labels_are_no_official_split(labels):
    with pytest.raises(RuntimeError, match="split 3 of CIFAR-10-LT differs from the official list"):
        BENCHMARKS["cifar10lt"]().lists(labels["cifar10"][::-1], "sdclr", 3)


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [([450, 101, 100, 20, 19, 4, 3], (2, 2, 3)), ([5, 5, 5], (0, 0, 3)), (exponential_profile(450, 100, 100), (33, 34, 33))],
)
def test_sizes_of_the_groups(counts, sizes):
    third = len(counts) // 3
    assert tuple(map(len, by_number(counts))) == sizes
    assert tuple(map(len, by_thirds(counts))) == (len(counts) - 2 * third, third, third)
