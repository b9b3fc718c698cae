"""The summary: differences from SimCLR on common runs, and the verdicts."""

import csv
import io

import pytest
from msgspec.structs import asdict, replace

from commands.report import page_sections
from reports.page.adapter import table_section
from reports.shipped_record import ShippedRecord
from reports.tables import all_tables, build_tables, summary_tables, terminal_text
from reports.tables.latex import latex_text
from reports.tables.text import csv_text, markdown_text
from tests.reports.made import made_grid, made_record


def runs(method, few, *, splits=range(1, 6), **fields):
    """Records of one method with the given accuracies on the few group."""
    return [
        replace(made_record(method, split=split, probe="ridge"), run_id=f"{method}{split}", few=value, **fields)
        for split, value in zip(splits, few, strict=True)
    ]


def rows(records):
    (table,) = summary_tables(build_tables(records), more_runs=lambda record: "add --splits 1 2 3 4 5")
    return {row[0].value: {c.key: cell.value for c, cell in zip(table.columns, row, strict=True)} for row in table.rows}


BASE = [40.0, 50.0, 60.0, 70.0, 80.0]


@pytest.mark.parametrize(
    ("few", "verdict"),
    [
        ([value + gain for value, gain in zip(BASE, (2, 2.5, 1.5, 2, 2), strict=True)], "better on few"),
        ([value - gain for value, gain in zip(BASE, (2, 2.5, 1.5, 2, 2), strict=True)], "worse on few"),
        ([value + gain for value, gain in zip(BASE, (9, -7, 3, -6, 2), strict=True)], "no difference seen"),
        (BASE[:4], "too few runs: add --splits 1 2 3 4 5"),
        (BASE[:1], "too few runs: add --splits 1 2 3 4 5"),
    ],
)
def test_verdicts(few, verdict):
    found = rows([*runs("simclr", BASE), *runs("byol", few, splits=range(1, len(few) + 1))])
    assert found["byol"]["verdict"] == verdict
    assert found["byol"]["few_pairs"] == len(few)
    assert found["byol"]["few_difference"] == pytest.approx(sum(few) / len(few) - sum(BASE[: len(few)]) / len(few))
    assert found["simclr"]["verdict"] == "reference"
    assert found["simclr"]["few_difference"] is None


def test_means_are_printed_without_the_standard_deviations_that_the_csv_has():
    (table,) = summary_tables(build_tables([*runs("simclr", BASE), *runs("byol", BASE[::-1])]))
    assert all("±" not in write(table) for write in (terminal_text, markdown_text))
    assert "pm" not in latex_text(table)
    assert not any(cell.spread for row in table_section(table).rows for cell in row.cells)
    (line, _) = csv.DictReader(io.StringIO(csv_text(table)))
    assert float(line["few_sd"]) == pytest.approx(15.8114)


@pytest.mark.parametrize("splits", [1, 2])
def test_accuracy_tables_say_that_their_standard_deviation_includes_the_differences_between_splits(splits):
    grid = list(made_grid(["simclr", "byol"], splits, 2, ["ridge", "ridge-1pct"]))
    tables = [
        table for table in all_tables(grid) if table.file in ("linear-probe", "linear-probe-1pct", "combined-linear-probe")
    ]
    assert len(tables) == 3
    for table in tables:
        assert "±" in terminal_text(table)
        assert ("± includes the differences between splits." in table.caption) == (splits > 1)


def test_without_simclr_there_is_no_verdict():
    assert rows(runs("byol", BASE))["byol"]["verdict"] == "no SimCLR runs"


def test_without_common_runs_or_a_few_group_there_is_no_difference():
    found = rows([*runs("simclr", BASE[:2], splits=(1, 2)), *runs("byol", BASE[:2], splits=(3, 4))])
    assert found["byol"]["few_difference_text"] is None
    assert found["byol"]["verdict"].startswith("too few runs")
    found = rows([*runs("simclr", [None] * 5), *runs("byol", [None] * 5)])
    assert found["byol"]["few_difference"] is None
    assert found["byol"]["mean_pairs"] == 5


def test_rows_are_sorted_by_few_and_the_users_own_come_first():
    shipped = [
        ShippedRecord(**asdict(record), trained_in="bf16", submission=name)
        for method, level, name in (("ts", 90.0, ""), ("bcl", 95.0, ""), ("gh", 65.0, "doe"))
        for record in runs(method, [level] * 5)
    ]
    own = [
        r for method, few in (("byol", 50.0), ("tase", 60.0), ("simclr", 70.0), ("aaa", None)) for r in runs(method, [few] * 5)
    ]
    (table,) = summary_tables(build_tables([*shipped, *own]))
    assert [row[0].value for row in table.rows] == ["simclr", "gh", "tase", "byol", "aaa", "bcl", "ts"]
    assert [ids[0].removesuffix("1") for ids in table.run_ids] == [row[0].value for row in table.rows]


def test_summaries_of_a_benchmark_start_with_the_most_methods_and_end_with_balanced_variants():
    sizes = {"cao": 1, "sdclr": 2, "balanced": 3, "ir=100,n=9": 1}
    records = [
        replace(
            made_record(method, profile=profile, data=f"{dataset} {profile}", run_id=f"{method}{profile}", dataset=dataset),
            **({"class_counts": [1116] * 10} if profile == "balanced" else {}),
        )
        for dataset in ("cifar10lt", "cifar100lt")
        for profile, methods in sizes.items()
        for method in ("simclr", "byol", "ts")[:methods]
    ]
    found = [(table.records[0].dataset, table.records[0].profile) for table in summary_tables(build_tables(records))]
    assert [profile for _, profile in found] == ["sdclr", "cao", "ir=100,n=9", "balanced"] * 2
    assert [dataset for dataset, _ in found] == ["cifar10lt"] * 4 + ["cifar100lt"] * 4


def test_one_summary_for_each_setting_of_its_main_probe():
    records = [
        replace(record, run_id=f"{record.run_id}{preset}{probe}", preset=preset, probe=probe)
        for record in runs("simclr", BASE)
        for preset in ("cpu", "paper")
        for probe in ("knn", "ridge")
    ]
    tables = summary_tables(build_tables(records))
    assert [(table.shared("preset"), table.probe) for table in tables] == [("cpu", "ridge"), ("paper", "ridge")]
    assert len({table.name for table in tables}) == 2


@pytest.mark.parametrize("change", [{"warmup_epochs": 7.0}, {"final_lr": 0.01}, {"lr": 0.004 + 1e-12}])
def test_settings_that_captions_do_not_tell_apart_have_summaries_of_their_own(change):
    records = [*runs("simclr", BASE), *runs("byol", BASE)]
    others = [replace(r, recipe=r.recipe | change, run_id=f"{r.run_id}x") for r in records]
    tables = build_tables([*records, *others])
    assert len({table.setting for table in tables}) == 1
    assert [len(table.records) for table in summary_tables(tables)] == [10, 10]
    assert sum(section.lead for section in page_sections([table.table() for table in tables], tables)) == 2


def test_of_several_protocols_the_summary_has_the_one_with_the_most_methods():
    records = [*runs("byol", BASE, protocol="A former one"), *runs("simclr", BASE), *runs("sdclr", BASE)]
    (table,) = summary_tables(build_tables(records))
    assert {row[0].value for row in table.rows} == {"simclr", "sdclr"}
