"""CIFAR profiles: balanced, and any imbalance ratio at fixed size."""

import json

import numpy as np
import pytest

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.lists.longtail import exponential_profile, fingerprint
from grid.options import GridOptions
from grid.plan import make_plan
from tests.conftest import GOLDEN

NAMES = ("cifar10", "cifar100")


@pytest.fixture
def labels(cifar10_labels, cifar100_labels):
    return {"cifar10": cifar10_labels, "cifar100": cifar100_labels}


@pytest.mark.parametrize("name", NAMES)
def test_the_balanced_profile_trains_on_the_official_balanced_lists(name, labels):
    official = json.loads((GOLDEN / f"{name}_splits.json").read_text())
    benchmark = BENCHMARKS[f"{name}lt"]()
    assert benchmark.profiles["balanced"].official == 5
    for split in range(1, 6):
        lists = benchmark.lists(labels[name], "balanced", split)
        (twin,) = [known for file, known in official.items() if file.endswith(f"split{split}_D_b.npy")]
        assert fingerprint(lists.pretrain) == twin["sha256_int64_le"]
        longtailed = benchmark.lists(labels[name], "sdclr", split)
        for same in ("train", "val", "fewshot"):
            assert np.array_equal(getattr(lists, same), getattr(longtailed, same))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("profile", ["balanced", "ir=1", "ir=1,n=5000"])
def test_groups_of_a_balanced_set_are_those_of_its_longtailed_balanced_list(name, profile, labels):
    benchmark = BENCHMARKS[f"{name}lt"]()
    for split in (1, 2, 7):
        longtailed = benchmark.lists(labels[name], "sdclr", split).pretrain
        counts = benchmark.group_counts(labels[name], profile, split)
        assert counts.tolist() == np.bincount(labels[name][longtailed]).tolist()
        assert np.ptp(np.bincount(labels[name][benchmark.lists(labels[name], profile, split).pretrain])) == 0


def test_groups_of_any_other_set_are_its_own(labels):
    benchmark = BENCHMARKS["cifar10lt"]()
    for profile in ("sdclr", "cao", "ir=20,n=9000"):
        own = np.bincount(labels["cifar10"][benchmark.lists(labels["cifar10"], profile, 2).pretrain])
        assert benchmark.group_counts(labels["cifar10"], profile, 2).tolist() == own.tolist()


@pytest.mark.parametrize(("name", "classes", "most"), [("cifar10", 10, 4500), ("cifar100", 100, 450)])
@pytest.mark.parametrize("ratio", [1, 5, 20, 99])
def test_the_largest_class_is_as_large_as_the_size_allows(name, classes, most, ratio, labels):
    benchmark = BENCHMARKS[f"{name}lt"]()
    size = 9000
    counts = benchmark.profiles[benchmark.profile(f"ir={ratio},n={size}")].counts
    assert sum(counts) <= size < sum(exponential_profile(counts[0] + 1, ratio, classes))
    assert counts[0] <= most
    assert list(counts) == exponential_profile(counts[0], ratio, classes)


@pytest.mark.parametrize(
    ("name", "spelled", "profile"),
    [
        ("cifar10lt", "ir=100,n=11165", "sdclr"),
        ("cifar10lt", "ir=1,n=11165", "balanced"),
        ("cifar100lt", "ir=1,n=9754", "balanced"),
        ("cifar10lt", "ir=50,n=12596", "ir=50"),
        ("cifar10lt", "ir=5e1,n=011165", "ir=50,n=11164"),
        ("cifar10lt", "ir=50.0,n=11165", "ir=50,n=11164"),
        ("cifar10lt", "balanced", "balanced"),
    ],
)
def test_equal_lists_have_one_name(name, spelled, profile):
    assert BENCHMARKS[name]().profile(spelled) == profile


def test_a_size_of_its_own_is_cut_from_the_same_images(labels):
    benchmark = BENCHMARKS["cifar10lt"]()
    small, whole = (set(benchmark.lists(labels["cifar10"], p, 3).pretrain.tolist()) for p in ("ir=50,n=6000", "ir=50"))
    assert small < whole


def test_each_profile_asked_for_is_run_once(tmp_path):
    asked = GridOptions(
        methods=["simclr", "byol"],
        variants=["balanced", "ir=100", "sdclr", "ir=10,n=11165"],
        seeds=[0, 1],
        device="cpu",
        data_root=tmp_path,
    )
    runs = make_plan(asked).runs
    assert [run.config.profile for run in runs[::4]] == ["balanced", "sdclr", "ir=10,n=11165"]
    assert len({run.config.run_id for run in runs}) == len(runs) == 3 * 2 * 2
    assert {run.config.label.split(" split")[0] for run in runs if run.config.method == "byol"} == {
        "byol on cifar10lt variant balanced", "byol on cifar10lt", "byol on cifar10lt variant ir=10,n=11165",
    }  # fmt: skip


def test_without_profiles_each_benchmark_has_its_first(tmp_path):
    asked = GridOptions(methods=["simclr"], datasets=["cifar10lt", "placeslt"], device="cpu", preset="cpu", data_root=tmp_path)
    assert [run.config.profile for run in make_plan(asked).runs] == ["sdclr", "colt"]
    with pytest.raises(UserError, match="placeslt has no variant 'cao'"):
        make_plan(GridOptions(datasets=["cifar10lt", "placeslt"], variants=["cao"], device="cpu", data_root=tmp_path))
