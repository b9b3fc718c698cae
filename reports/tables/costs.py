"""What training and probing cost, and what accuracy each method bought for how many images."""

from collections.abc import Sequence

from reports import captions
from reports.comparable import SETTING, Title, by_method, comparable, method_name, one_a_run, run_ids, table_name
from reports.tables.accuracy import Cell, cell, entry
from reports.tables.formats import Column, Entry, Table
from run_store.records import AccuracyRecord, Record

BASELINE = "simclr"
COSTS = (
    Column("Images/s", "images_per_second", decimals=0, spread=True, absent="-"),
    Column("Hours", "train_hours", decimals=2, spread=True, absent="-"),
    Column("Peak MB", "peak_memory_mb", decimals=0, spread=True, absent="-"),
    Column("Images seen", "images_seen", decimals=0, absent="-"),
    Column("Extra images", "extra_images", decimals=0, absent="-"),
    Column("Probe s", "probe_seconds", spread=True, absent="-"),
)


def cost_tables(records: Sequence[Record], title: Title = method_name) -> list[Table]:
    """Speed, hours, memory, images and probe seconds of each method; one table for each setting.

    Args:
        records: of any runs; the seconds of those probes are summed that all runs of a table have.
        title: how the method of a record is printed.
    """
    tables = []
    for key, members in comparable(records, SETTING):
        seconds: dict[str, dict[str, float]] = {}
        for record in members:
            seconds.setdefault(record.run_id, {})[record.probe] = record.probe_seconds
        probes = sorted(set.intersection(*(set(by_probe) for by_probe in seconds.values())))
        runs = one_a_run(members)
        rows = []
        methods = by_method(runs).values()
        for of in methods:
            cells = [
                cell(run.images_per_second for run in of),
                cell(None if run.train_seconds is None else run.train_seconds / 3600 for run in of),
                cell(run.peak_memory_mb for run in of),
            ]
            counts = [
                cell(run.images_seen for run in of),
                cell(None if run.images_seen is None else run.extra_images for run in of),
            ]
            rows.append(
                [
                    Entry(title(of[0])),
                    *map(entry, cells),
                    *(Entry(None if count is None else count.mean) for count in counts),
                    entry(cell(sum(seconds[run.run_id][probe] for probe in probes) for run in of)) if probes else Entry(None),
                    Entry(", ".join(sorted({run.device for run in of}))),
                    Entry(len(of)),
                ]
            )
        first = runs[0]
        devices = "; ".join(sorted({run.device for run in runs}))
        tables.append(
            Table(
                f"costs-{table_name(first, key)}",
                f"{captions.subject(first, key)}, cost of a run",
                f"{captions.setting(first)} {captions.runs(runs)} Images are source images: the pretraining set once an epoch, "
                "and the extra ones from a pool. Peak memory: on the GPU, or of the process. Probe s: the probes that all runs "
                f"here have ({', '.join(probes) or 'none'}), with the extraction of their features. Times compare on one "
                f"device alone; here: {devices}.",
                [Column("Method", "method"), *COSTS, Column("Device", "device", reach="text"), Column("n", "runs")],
                rows,
                first,
                runs=[run_ids(of) for of in methods],
            )
        )
    return tables


def budget_tables(records: Sequence[AccuracyRecord], title: Title = method_name) -> list[Table]:
    """All and Few beside the images that training saw and its cost relative to SimCLR's; one table for each probe.

    Where SimCLR is not among the methods, the one that saw the fewest images is the measure. Tables of one method are left out,
    and weights from elsewhere.
    """
    tables = []
    for key, members in comparable(record for record in records if record.images_seen is not None):
        by_row = list(by_method(members).values())
        if len(by_row) < 2:
            continue
        baseline = min(by_row, key=lambda of: (of[0].method != BASELINE, _mean(cell(r.images_seen for r in of))))
        images, seconds = (_mean(cell(getattr(r, name) for r in baseline)) for name in ("images_seen", "train_seconds"))
        rows, more = [], []
        by_row.sort(key=lambda of: _mean(cell(r.images_seen for r in of)))
        for of in by_row:
            seen, time = (_mean(cell(getattr(r, name) for r in of)) for name in ("images_seen", "train_seconds"))
            if seen > images:
                more.append(f"{title(of[0])} (by {seen - images:,.0f})")
            ratios = [seen / images if images else None, time / seconds if seconds else None]
            accuracy = [entry(cell(getattr(r, name) for r in of)) for name in ("mean", "few")]
            rows.append([Entry(title(of[0])), *accuracy, Entry(seen), *(Entry(ratio) for ratio in ratios), Entry(len(of))])
        first = members[0]
        measure = title(baseline[0])
        told = (
            f"More images than {measure}: {', '.join(more)}; their gain is not at equal budget."
            if more
            else f"No method saw more images than {measure}."
        )
        columns = [
            Column("Method", "method"),
            Column("All", "mean", spread=True),
            Column("Few", "few", spread=True),
            Column("Images seen", "images_seen", decimals=0),
            Column("Images", "relative_images", f"relative to {measure}", decimals=3, absent="-"),
            Column("Time", "relative_time", f"relative to {measure}", decimals=2, absent="-"),
            Column("n", "runs"),
        ]
        tables.append(
            Table(
                f"budget-{table_name(first, key, first.probe)}",
                f"{captions.subject(first, key)}, accuracy in % and what it cost, probe {captions.probe_title(first.probe)}",
                f"{captions.setting(first)} {captions.probe(members)} {captions.runs(members)} {told} "
                "Time is that of training; it compares on one device alone.",
                columns,
                rows,
                first,
                first.probe,
                [run_ids(of) for of in by_row],
            )
        )
    return tables


def _mean(found: Cell | None) -> float:
    return 0.0 if found is None else found.mean
