"""Tables of the golden records: printed text, values, captions and metadata."""

import csv
import io
import json
import re

import pytest
from msgspec.structs import replace

from reports.tables import all_tables, build_tables, records_csv, tables_text, write_tables
from reports.tables.table import Cell, Column, Table
from reports.tables.text import terminal_text
from reports.tables.write import WRITERS
from run_store.records import AccuracyRecord, GeometryRecord, geometries
from tests.reports.golden_records import FOLDER, STATES, TITLES, title

SMALL = Table(
    "small",
    "cifar10lt, test accuracy in %",
    "Mean ± std over n runs.",
    "Details of A & B.",
    [Column("Method", "method"), Column("All", "mean", "ridge", std=True), Column("Few", "few", "ridge"), Column("n", "runs")],
    [
        [Cell("SimCLR"), Cell(59.41, 0.437, bold=True), Cell(48.0), Cell(3)],
        [Cell("A & B_1 | <i>"), Cell(7.25, dagger=True), Cell(None), Cell(1)],
        [Cell("COLT"), *[Cell(None, placeholder="failed")] * 2, Cell(0)],
    ],
)


@pytest.mark.parametrize("suffix", ["csv", "md", "tex", "txt"])
def test_a_small_table_is_printed_as_the_golden_text(suffix):
    text = terminal_text(SMALL) + "\n" if suffix == "txt" else WRITERS[suffix](SMALL)
    assert text == (FOLDER / f"small.{suffix}").read_text()


def numbers(table, method):
    """The row of a method as a dictionary: value by column key, standard deviation by `<key>_sd`."""
    (row,) = [row for row in table.rows if row[0].value == method]
    pairs = list(zip(table.columns, row, strict=True))
    return {c.key: cell.value for c, cell in pairs} | {f"{c.key}_sd": cell.std for c, cell in pairs}


NAMES = {  # file names contain the hash of the setting: a changed one breaks links to the files
    "cifar10lt-balanced-cpu-knn-e6933c",
    "cifar10lt-ir10-n11165-cpu-knn-77c5ef",
    "cifar10lt-exp-4500-45-paper-sdclr-b55262",
    "combined-cifar10lt-exp-4500-45-cpu-sdclr-cached-70e9df",
    "published-cifar10lt-exp-4500-45-cpu-sdclr-cached-a740e6",
    "costs-folderlt-own-surrogate-order-paper-f02e6d",
    "budget-cifar10lt-exp-4500-45-cpu-knn-cc47a8",
    "agreement-few-cifar10lt-exp-4500-45-cpu-70e9df",
    "tail-cifar10lt-exp-4500-45-cpu-70e9df",
    "imbalance-cifar10lt-exp-4500-45-cpu-knn-1134d0",
    "ratio-cifar10lt-11157-cpu-knn-1134d0",
    "geometry-cifar10lt-exp-4500-45-cpu-985018",
    "curve-cifar10lt-exp-4500-45-cpu-fewshot-curve-bed713",
    "missing-runs",
}
EXPECTED = {  # by start of the table's name and method
    ("cifar10lt-exp-4500-45-cpu-knn", "SimCLR"): {
        **{"many": 60.8333, "medium": 53.3333, "few": 46.2222, "mean": 54.2, "group_std": 5.9839, "worst": 43.3333},
        **{"many_sd": 1.4649, "medium_sd": 1.453, "few_sd": 2.5892, "mean_sd": 0.6083, "group_std_sd": 1.6397},
        **{"harmonic_mean": 53.3149, "head_tail_gap": 14.6111, "class_std": 6.72, "other_many": 56.0417},
        **{"other_medium": 46.8333, "other_few": None, "splits": 3, "seeds": 1, "runs": 3},
    },
    ("cifar10lt-exp-4500-45-paper-sdclr", "SimCLR"): {
        **{"many": 82.15, "medium": 74.1333, "few": 67.6, "mean": 75.38, "few_sd": 1.1643},
    },
    ("combined-", "BYOL"): {
        **{"sdclr-cached_many": 65.75, "sdclr-cached_few": 49.8333, "sdclr-cached_mean": 58.6, "sdclr-cached_mean_sd": 0.5657},
        **{"sdclr-cached-1pct_many": 49.75, "sdclr-cached-1pct_few": 36.6667, "sdclr-cached-1pct_mean": 43.65, "runs": 2},
    },
    ("costs-cifar10lt-exp-4500-45-cpu", "SimCLR"): {
        **{"images_per_second": 1265, "train_minutes": 5.0, "peak_memory_mb": 1500, "images_seen": 379610, "extra_images": 0},
        **{"probe_seconds": 6, "runs": 3},
    },
    ("budget-cifar10lt-exp-4500-45-cpu-knn", "BYOL"): {
        **{"mean": 52.9, "few": 47.0, "relative_images": 1, "relative_time": 1.3333},
    },
    ("agreement-all-", "knn"): {"knn": 1.0, "sdclr-cached": 0.6667, "sdclr-cached-1pct": 0.3333},
    ("tail-cifar10lt-exp-4500-45-cpu", "SimCLR"): {
        **{"tail_auroc": 0.61, "tail_auroc_sd": 0.0173, "tail_spearman": 0.1, "runs": 3},
    },
    ("imbalance-", "BYOL"): {
        "gap_mean": 9,
        "gap_few": 9,
        "runs": 1,
        "recovered_mean": -9.5,
        "recovered_few": 18.3333,
        "recovered_runs": 2,
    },
    ("geometry-", "SimCLR"): {"alignment_few": 0.44, "uniformity_many": -2.25, "effective_rank_all": 40.0, "runs": 2},
}


def test_names_values_and_bold_of_the_golden_records(records):
    """Values to the four decimals of the CSV."""
    tables = {table.name: table for table in all_tables(records, title, STATES)}
    for (prefix, method), expected in EXPECTED.items():
        (table,) = [table for name, table in tables.items() if name.startswith(prefix)]
        found = numbers(table, method)
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=6e-5), (prefix, method)
    assert set(tables) >= NAMES
    bold = {
        row[0].value: numbers(tables["cifar10lt-exp-4500-45-cpu-sdclr-cached-a740e6"], row[0].value)["bold"]
        for row in tables["cifar10lt-exp-4500-45-cpu-sdclr-cached-a740e6"].rows
    }
    assert set(bold) == {"BYOL", TITLES["odd_name"], "SimCLR", "SimCLR (temperature=0.5)"}
    assert not any(bold.values())  # three runs


def test_captions_are_short_and_complete(records):
    for table in all_tables(records, title, STATES)[:-1]:
        assert len(table.full_caption) <= 330
        assert "n runs (split" in table.caption or "n = " in table.caption
        scale = "CPU-scale numbers, not comparable with published ones."
        assert table.caption.endswith(scale) == (table.shared("preset") == "cpu")
        assert "[" not in table.caption
        assert table.details


@pytest.mark.parametrize("preset", ["cpu", "smoke", "paper"])
def test_sentences_begin_with_a_capital_letter(records, preset):
    for table in all_tables([replace(record, preset=preset) for record in records], title):
        assert not re.search(r"(^|\. )[a-z](?! = )", table.caption), table.caption


def test_the_terminal_prints_data_set_probe_n_and_scale(accurate):
    text = tables_text(table.table() for table in build_tables(accurate, title, STATES))
    assert "cifar10lt (variant exp-4500-45), test accuracy in %, probe knn\n" in text
    assert "n runs (splits 1-3; seed 0). ± includes the differences between splits. †" in text
    assert text.count("CPU-scale") == 4  # consecutive tables with the same caption share it
    assert "sha256" not in text


def test_record_csvs_have_a_column_per_field(records, accurate):
    for found, kind in ((accurate, AccuracyRecord), (geometries(records), GeometryRecord)):
        lines = list(csv.DictReader(io.StringIO(records_csv(found, kind))))
        assert list(lines[0]) == [name for name in kind.__struct_fields__ if name != "format"]
        assert sorted(line["run_id"] for line in lines) == sorted(record.run_id for record in found)
    by_run = {(record.run_id, record.probe): record for record in accurate}
    line = next(csv.DictReader(io.StringIO(records_csv(accurate, AccuracyRecord))))
    record = by_run[line["run_id"], line["probe"]]
    assert float(line["mean"]) == record.mean
    assert json.loads(line["recipe"]) == record.recipe
    assert [float(x) for x in line["class_accuracy"].split()] == pytest.approx(record.class_accuracy, abs=0.006)


def test_metadata_of_a_table(records, tmp_path):
    tables = write_tables(records, tmp_path, title, STATES)
    (table,) = [table for table in tables if table.name.startswith("cifar10lt-exp-4500-45-cpu-sdclr-cached-1pct")]
    meta = json.loads((tmp_path / "cifar10lt" / "sdclr-cached-1pct-probe.meta.json").read_text())
    assert {key: meta[key] for key in ("dataset", "variant", "profile", "preset", "probe", "splits", "seeds", "n")} == {
        "dataset": "cifar10lt",
        "variant": "exp-4500-45",
        "profile": "sdclr",
        "preset": "cpu",
        "probe": "sdclr-cached-1pct",
        "splits": [1, 2, 3],
        "seeds": [0],
        "n": 6,
    }
    assert (meta["title"], meta["caption"], meta["details"]) == (table.title, table.caption, table.details)
    assert meta["run_ids"] == [list(ids) for ids in table.run_ids]
    assert meta["passports"] == [f"{split}: {split:012x}" for split in (1, 2, 3)]
