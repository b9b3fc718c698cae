"""Cost of training and probing, and accuracy relative to the number of training images seen."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from reports import captions
from reports.comparable import (
    SETTING,
    Title,
    by_method,
    comparable_groups,
    method_name,
    one_record_per_run,
    run_and_method,
    run_ids,
    run_key,
    table_name,
)
from reports.tables.accuracy import mean_cell, mean_std
from reports.tables.table import Cell, Column, Table
from run_store.records import AccuracyRecord, Record

BASELINE = "simclr"
MINUTE = 60.0
COSTS = (
    Column("Images/s", "images_per_second", decimals=0, std=True, placeholder="-", never_zero=True),
    Column("Minutes", "train_minutes", std=True, placeholder="-", never_zero=True),
    Column("Seconds", "train_seconds", std=True, placeholder="-", never_zero=True),
    Column("Peak MB", "peak_memory_mb", decimals=0, std=True, placeholder="-", never_zero=True),
    Column("Images seen", "images_seen", decimals=0, placeholder="-"),
    Column("Extra images", "extra_images", decimals=0, placeholder="-"),
    Column("Probe s", "probe_seconds", std=True, placeholder="-", never_zero=True),
)


def cost_tables(records: Sequence[Record], title: Title = method_name) -> list[Table]:
    """Throughput, training time, memory, images and probe seconds of each method; one table per setting.

    The time is printed in minutes, or in seconds if the shortest run took less than one minute; the CSV has both.

    Args:
        records: of any runs; probe seconds are summed over the probes that all runs of a table have.
        title: printed name of a record's method.
    """
    tables = []
    for key, members in comparable_groups(records, SETTING):
        seconds: dict[tuple[str, tuple[str, str]], dict[str, float]] = {}
        for record in members:
            seconds.setdefault(run_and_method(record), {})[record.probe] = record.probe_seconds
        probes = sorted(set.intersection(*(set(by_probe) for by_probe in seconds.values())))
        records_of_runs = one_record_per_run(members)
        rows, ids = [], []
        for runs in by_method(records_of_runs).values():
            trained = _trained(runs)
            rows.append(
                [
                    Cell(title(runs[0])),
                    mean_cell(run.images_per_second for run in trained),
                    mean_cell(None if run.train_seconds is None else run.train_seconds / 60 for run in trained),
                    mean_cell(run.train_seconds for run in trained),
                    mean_cell(run.peak_memory_mb for run in trained),
                    _mean_only(run.images_seen for run in trained),
                    _mean_only(None if run.images_seen is None else run.extra_images for run in trained),
                    mean_cell(sum(seconds[run_and_method(run)][probe] for probe in probes) if probes else None for run in runs),
                    Cell(", ".join(sorted({run.device for run in runs}))),
                    Cell(len(trained)),
                ]
            )
            ids.append(run_ids(runs))
        first = records_of_runs[0]
        short = min((run.train_seconds for run in records_of_runs if run.train_seconds), default=MINUTE) < MINUTE
        unprinted = "train_minutes" if short else "train_seconds"
        columns = [replace(column, csv_only=column.key == unprinted) for column in COSTS]
        devices = "; ".join(sorted({run.device for run in records_of_runs}))
        tables.append(
            Table(
                f"costs-{table_name(first, key)}",
                f"{captions.subject(first, key)}, cost of training and probing",
                captions.caption(records_of_runs, "Times are comparable only on the same device."),
                f"{captions.setting(first)} {captions.runs(records_of_runs)} Images seen: source images, that is, the "
                "pretraining set in every epoch plus the extra images from an out-of-distribution pool. Peak memory: of the "
                f"GPU, else of the process. Probe s: probes that all runs have ({', '.join(probes) or 'none'}), including "
                f"feature extraction. Devices: {devices}.",
                [Column("Method", "method"), *columns, Column("Device", "device", in_latex=False), Column("n", "runs")],
                rows,
                records_of_runs,
                run_ids=ids,
                file="costs",
            )
        )
    return tables


def budget_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """All and Few with images seen and training time relative to SimCLR; one table per setting and probe.

    Without SimCLR the method with the fewest images seen is the reference. A setting with one method has no table; external
    weights are left out.
    """
    tables = []
    for key, members in comparable_groups(record for record in records if record.images_seen is not None):
        methods = sorted(by_method(members).values(), key=lambda runs: _mean(runs, "images_seen"))
        if len(methods) < 2:
            continue
        baseline = min(methods, key=lambda runs: runs[0].method != BASELINE)
        images, seconds = _mean(baseline, "images_seen"), _mean(baseline, "train_seconds")
        reference = title(baseline[0])
        rows, larger = [], []
        for runs in methods:
            seen, time = _mean(runs, "images_seen"), _mean(runs, "train_seconds")
            if seen > images:
                larger.append(f"{title(runs[0])} (+{seen - images:,.0f})")
            accuracy = [mean_cell(getattr(run, name) for run in runs) for name in ("mean", "few")]
            ratios = [Cell(seen / images if images else None), Cell(time / seconds if seconds else None)]
            rows.append([Cell(title(runs[0])), *accuracy, Cell(seen), *ratios, Cell(len(runs))])
        first = members[0]
        columns = [
            Column("Method", "method"),
            Column("All", "mean", std=True),
            Column("Few", "few", std=True),
            Column("Images seen", "images_seen", decimals=0),
            Column("Images", "relative_images", f"ratio to {reference}", decimals=3, placeholder="-", never_zero=True),
            Column("Time", "relative_time", f"ratio to {reference}", decimals=2, placeholder="-", never_zero=True),
            Column("n", "runs"),
        ]
        unequal = f"Methods trained on more images than {reference}, so not at equal budget: {', '.join(larger)}."
        tables.append(
            Table(
                f"budget-{table_name(first, key, first.probe)}",
                f"{captions.subject(first, key)}, accuracy in % and training cost, probe {captions.probe_title(first.probe)}",
                captions.caption(members, "Times are comparable only on the same device."),
                f"{captions.setting(first)} {captions.protocol(members)} {captions.runs(members)} "
                f"{unequal if larger else f'No method was trained on more images than {reference}.'} Time: of training.",
                columns,
                rows,
                members,
                first.probe,
                [run_ids(runs) for runs in methods],
                file=f"budget-{captions.probe_file(first.probe)}",
            )
        )
    return tables


def _trained(runs: Sequence[Record]) -> Sequence[Record]:
    """One record of each network: one of other data may be probed on several splits."""
    return list({run_key(run)[:2]: run for run in runs}.values()) if runs[0].is_transfer else runs


def _mean_only(values: Iterable[float | None]) -> Cell:
    return Cell(mean_cell(values).value)


def _mean(runs: Sequence[AccuracyRecord], name: str) -> float:
    found = mean_std(getattr(run, name) for run in runs)
    return 0.0 if found is None else found.mean
