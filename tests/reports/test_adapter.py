"""Tables and run folders as content of the page."""

import json

import pytest

from data.benchmark import Source
from data.passport import Passport
from reports.page import adapter
from reports.tables import all_tables, build_tables
from reports.tables.states import RunState
from run_store.history import LOG, read_history
from run_store.passport import write_passport
from tests.reports.made import made_geometry, made_grid, made_record


def title(record):
    return record.method.upper()


@pytest.fixture
def records():
    return [*made_grid(["byol", "simclr"], splits=2, seeds=1), made_geometry()]


def state(**changes):
    record = made_record("byol", split=3)
    shared = ("run_id", "method", "hparams", "dataset", "profile", "split", "seed", "preset", "recipe", "precision", "executor")
    settings = {name: getattr(record, name) for name in shared}
    return RunState(**{"status": "failed", "reason": "it broke", "title": "BYOL", **settings, **changes})


def test_the_section_of_a_table_has_its_settings_and_run_ids(records):
    (table,) = [
        table for table in all_tables(records, title) if table.name.startswith("cifar10lt-") and "-ridge-" in table.name
    ]
    section = adapter.table_section(table)
    assert (section.dataset, section.variant, section.probe, section.preset) == (
        "cifar10lt",
        "exp-4500-45",
        "linear (ridge)",
        "cpu",
    )
    assert section.title == "Test accuracy in %"
    assert section.scale.startswith("CPU-scale")
    by_method = {row.method: row for row in section.rows}
    assert list(by_method) == ["BYOL", "SIMCLR"]
    assert list(by_method["BYOL"].runs) == ["byol-1-0", "byol-2-0"]
    heads = [column.title for column in section.columns]
    assert heads == ["Many", "Medium", "Few", "All", "Std", "n"]  # what is in the CSV alone stays there
    assert [column.title for column in section.columns if column.lower_is_better] == ["Std"]
    cell = by_method["SIMCLR"].cells[heads.index("All")]
    accuracy_records = [f for f in records if f.method == "simclr" and f.probe == "ridge"]
    assert cell.value == pytest.approx(sum(record.mean for record in accuracy_records) / 2)
    assert cell.spread.startswith("± ")


def test_the_group_of_methods_is_the_last_column(records):
    for table in build_tables(records, title, group=lambda method: "baselines"):
        section = adapter.table_section(table.table())
        assert [column.title for column in section.columns] == ["Many", "Medium", "Few", "All", "Std", "n", "Group"]
        assert {row.cells[-1].text for row in section.rows} == {"baselines"}
        assert all(row.cells[0].value is not None for row in section.rows)


def test_every_table_becomes_a_section_with_a_cell_per_column(records):
    states = [state()]
    for table in all_tables(records, title, states):
        section = adapter.table_section(table)
        assert section.title
        assert all(len(row.cells) == len(section.columns) for row in section.rows)


def test_cells_of_a_method_without_finished_runs_show_the_state(records):
    missing = state(method="sdclr", title="SDCLR", run_id="sdclr-1-0")
    tables = all_tables(records, title, [missing])
    (table,) = [table for table in tables if table.name.startswith("cifar10lt-") and "-ridge-" in table.name]
    section = adapter.table_section(table)
    (row,) = [row for row in section.rows if row.method == "SDCLR"]
    assert {cell.state for cell in row.cells[:5]} == {"failed"}
    assert list(row.runs) == ["sdclr-1-0"]


def test_a_finished_run_has_log_config_and_passport(tmp_path, records):
    folder = tmp_path / "cifar10lt-simclr-split1-seed0-simclr-1-0"
    folder.mkdir()
    lines = [{"epoch": epoch, "loss": 5.0 - epoch, "lr": 0.1, "images_per_second": 100.0} for epoch in range(1, 9)]
    (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.json").write_text('{"method": "simclr"}')
    passport = Passport("cifar10lt", "sdclr", "", 1, True, Source("CIFAR-10", "sha256 00"), (9, 3, 1), {"pretrain": (13, "00")})
    write_passport(folder, passport)
    run = adapter.finished_run(folder, [f for f in records if f.run_id == "simclr-1-0"], title, read_history(folder))
    assert (run.status, run.method, run.split, run.seed) == ("done", "SIMCLR", 1, 0)
    assert run.log.series["loss"] == [5.0 - epoch for epoch in range(1, 9)]
    assert (run.log.lines, len(run.log.last)) == (8, adapter.LAST_LINES)
    assert run.config == '{\n "method": "simclr"\n}'
    assert set(run.results) == {"sdclr-cached", "linear (ridge)", "knn", "geometry"}
    assert next(iter(run.results["linear (ridge)"])) == "All"  # what the panel says of a run that is not opened
    assert run.passport == passport.text()


def test_a_failed_run_has_its_error(tmp_path):
    (tmp_path / "error.txt").write_text("Traceback\nValueError: it broke\n")
    run = adapter.unfinished_run(tmp_path, state())
    assert (run.status, run.facts["reason"]) == ("failed", "it broke")
    assert run.error.startswith("Traceback")
    assert run.config == ""


def test_an_unfinished_run_has_its_records_so_far(tmp_path, records):
    found = [f for f in records if f.run_id == "byol-1-0"]
    run = adapter.unfinished_run(tmp_path, state(status="unfinished", run_id="byol-1-0"), found)
    assert run.status == "unfinished"
    assert set(run.results) == {"sdclr-cached", "linear (ridge)", "knn"}
    assert run.facts["backbone"] == found[0].backbone


@pytest.mark.parametrize(
    "key", ["ridge_group_std", "head_tail_gap", "gap_few", "peak_memory_mb", "relative_time", "alignment_all"]
)
def test_columns_where_lower_is_better(key):
    assert adapter.LOWER_IS_BETTER.fullmatch(key)


@pytest.mark.parametrize("key", ["mean", "ridge_mean", "recovered_few", "images_per_second", "effective_rank_all", "runs"])
def test_columns_where_higher_is_better(key):
    assert not adapter.LOWER_IS_BETTER.fullmatch(key)
