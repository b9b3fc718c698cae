"""Spread between machines: pairs of equal runs, and its limit."""

import math

import pytest
from msgspec.structs import replace

from core.errors import UserError
from reports.shipped import SHIPPED, shipped_files
from reports.spread import DEVIATIONS, MIN_PAIRS, read_spreads, spread_of, spreads
from run_store.records import accuracies, read_records
from tests.reports.made import made_record


def machines(differences):
    """Records of equal runs on two machines whose mean accuracies differ by the given numbers."""
    first = [made_record(seed=seed) for seed in range(len(differences))]
    second = [replace(r, mean=r.mean + d, device="far") for r, d in zip(first, differences, strict=True)]
    return first, second


def test_the_standard_deviation_is_about_zero():
    """So that a shift between the machines counts too."""
    differences = [1.0, -2.0, 0.5, 3.0, 2.5]
    spread = spreads(*machines(differences))["cifar10lt/cpu"]["ridge"]
    assert spread.sd == pytest.approx(math.sqrt(sum(d * d for d in differences) / 5), abs=1e-3)
    assert spread.mean == pytest.approx(1.0)
    assert (spread.largest, spread.runs, spread.devices) == (3.0, 5, ["cpu, 2 threads", "far"])
    assert spread.limit == pytest.approx(DEVIATIONS * spread.sd)


def test_the_limit_includes_every_measured_difference():
    differences = [0.0] * 19 + [5.0]
    assert spreads(*machines(differences))["cifar10lt/cpu"]["ridge"].limit == 5.0


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (MIN_PAIRS - 1, {}),
        (9, {"run_id": "another"}),
        (9, {"probe": "knn"}),
        (9, {"protocol": "another"}),
        (9, None),
    ],
)
def test_too_few_equal_runs_have_no_spread(number, changes):
    first, second = machines([1.0] * number)
    assert spreads(first, first if changes is None else [replace(record, **changes) for record in second]) == {}


def test_an_unknown_spread_is_one_line(tmp_path):
    assert read_spreads(tmp_path) == {}
    with pytest.raises(UserError, match="no spread of the probe ridge on cifar10lt/cpu"):
        spread_of(made_record(), {})


def test_every_shipped_record_has_a_spread():
    known = read_spreads(SHIPPED)
    assert all(spread_of(record, known).limit > 0 for record in accuracies(read_records(shipped_files())))
