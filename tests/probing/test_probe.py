"""Probing of a frozen backbone: contents of the records, and errors."""

import json

import numpy as np
import pytest

from eval.probes import PROBES
from grid.options import GridOptions
from grid.plan import make_plan
from run_store.records import AccuracyRecord, GeometryRecord, accuracies, read_records, unpack
from tests.runs import failures

QUICK = ["ridge", "ridge-1pct", "knn"]


@pytest.fixture
def probe(tmp_path):
    """Trains and probes a run on Digits-LT; returns its folder, failures and records."""

    def probe(*probes, epochs=1, **options):
        options = GridOptions(
            methods=["simclr"],
            datasets=["digitslt"],
            preset="smoke",
            epochs=epochs,
            device="cpu",
            probes=list(probes),
            out=tmp_path,
            **options,
        )
        plan = make_plan(options)
        failed = failures(plan)
        (run,) = plan.runs
        return run, failed, read_records([run.results]) if run.results.exists() else []

    return probe


def test_a_record_has_the_correctness_of_every_image(probe):
    _, failed, found = probe(*QUICK)
    assert not failed
    for record in accuracies(found):
        right = unpack(record.correct, len(record.draw_means), record.n_test)[0]
        parts = np.split(right, np.cumsum(record.test_counts)[:-1])
        assert [100 * part.mean() for part in parts] == pytest.approx(record.class_accuracy)
        assert record.worst == min(record.class_accuracy)
        assert record.head_tail_gap == pytest.approx(record.many - record.few)
        assert record.seed == 0
        assert (record.n_val > 0) == (record.val_accuracy is not None)


def test_records_have_both_groupings(probe):
    _, _, found = probe("ridge")
    (record,) = accuracies(found)
    assert record.grouping.startswith("thirds")
    other = record.other_groups
    assert other.grouping.startswith("classes with more than 100")
    assert other.group_sizes == [0, 5, 5]  # Digits-LT: 100 to 5 images a class
    assert (other.many, other.group_std, other.head_tail_gap) == (None, None, None)
    assert other.few is not None


@pytest.mark.slow
def test_records_of_every_probe_can_be_read(probe):
    run, failed, found = probe("all", epochs=2)
    assert not failed
    assert {record.probe for record in found} == {name for name in PROBES.names() if name != "sdclr-cached-100shot"}
    assert {type(record) for record in found} == {AccuracyRecord, GeometryRecord}
    again = make_plan(
        GridOptions(
            methods=["simclr"],
            datasets=["digitslt"],
            preset="smoke",
            epochs=2,
            device="cpu",
            probes=["all"],
            out=run.path.parent,
        )
    )
    assert again.states == ["DONE"]


def test_an_untrained_backbone_is_an_error(probe):
    _, failed, found = probe("ridge", set=["recipe.lr=0"])
    assert not found
    (reason,) = failed.values()
    assert "equals its initialisation" in reason


def test_zero_epochs_probe_the_untrained_network(probe):
    _, failed, found = probe("ridge", epochs=0)
    assert not failed
    assert found[0].epochs == 0


def test_records_of_older_versions_are_probed_again(probe):
    run, _, found = probe("ridge")
    line = json.loads(run.results.read_text())
    run.results.write_text(json.dumps({**line, "format": 3}) + "\n")
    _, failed, again = probe("ridge")
    assert not failed
    assert [record.probe for record in again] == ["ridge"]
    assert again[0].mean == found[0].mean
