"""Tables as pure functions of records: CSV, LaTeX, Markdown, and text for the terminal.

One table holds what may be compared: one benchmark, profile, source of the images, preset, recipe (network, length, batch,
optimiser), precision, executor and probe. One row holds runs of one method with one set of hyper-parameters, over splits and
seeds.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from core.files import writable_folder, write_text
from reports.records import Record

METRICS = {"many": "Many", "medium": "Medium", "few": "Few", "mean": "All", "group_std": "Std"}
COMPARABLE = ("dataset", "profile", "data", "preset", "recipe", "precision", "executor", "probe", "protocol")
SCALES = {"cpu": "CPU-scale", "smoke": "smoke-scale"}  # presets whose numbers are not the papers'


@dataclass(frozen=True)
class Cell:
    """One number of a table: a mean over runs, and how far they spread."""

    mean: float
    std: float | None  # sample standard deviation over runs; None for a single run

    def text(self, plus_minus: str) -> str:
        """One decimal, as papers print accuracies."""
        return f"{self.mean:.1f}" if self.std is None else f"{self.mean:.1f} {plus_minus} {self.std:.1f}"


@dataclass(frozen=True)
class Row:
    """One method under one set of hyper-parameters."""

    method: str  # as printed
    cells: dict[str, Cell]  # by key of METRICS
    splits: int
    seeds: int
    runs: int


@dataclass(frozen=True)
class Table:
    """What may be compared, under one probe."""

    name: str  # file name without suffix
    title: str  # benchmark and probe
    setting: str  # data, preset, network and scale: one line shared by all probes of the same runs
    notes: str  # the probe's protocol, sample counts, groups, splits with their passports, and seeds
    rows: list[Row]

    @property
    def caption(self) -> str:
        """All that a reader needs to place the numbers, in plain text."""
        return f"{self.title}. {self.setting} {self.notes}"

    def frame(self, plus_minus: str = "±") -> pd.DataFrame:
        """The table as text cells, one row a method."""
        return pd.DataFrame(
            {
                "Method": [row.method for row in self.rows],
                **{header: [row.cells[metric].text(plus_minus) for row in self.rows] for metric, header in METRICS.items()},
                "Splits": [row.splits for row in self.rows],
                "Seeds": [row.seeds for row in self.rows],
                "Runs": [row.runs for row in self.rows],
            }
        )


def build_tables(records: Iterable[Record], title: Callable[[Record], str] = lambda record: record.method) -> list[Table]:
    """Groups records into tables, in the order of their names; methods in alphabetical order.

    Args:
        records: of any runs.
        title: how the method of a record is printed; rows of other hyper-parameters should differ in it.
    """

    records = list(records)
    passports: dict[tuple[str, int], set[str]] = {}
    for record in records:
        passports.setdefault((record.data, record.split), set()).add(record.passport)

    def comparable(record: Record) -> str:
        # one split made in two ways, by other versions or probe lists, is two sets of data: a table for each
        other = [record.passport] if len(passports[record.data, record.split]) > 1 else []
        return json.dumps([*(getattr(record, field) for field in COMPARABLE), *other], sort_keys=True)

    def row(record: Record) -> tuple[str, str]:
        return record.method, json.dumps(record.hparams, sort_keys=True)

    tables = []
    for key, group in groupby(sorted(records, key=lambda r: (comparable(r), row(r), r.split, r.seed)), comparable):
        members = list(group)
        first = members[0]
        rows = [_row(title, list(runs)) for _, runs in groupby(members, row)]
        # a name has to tell settings apart that would make it too long
        profile = first.profile.replace("=", "")  # `ir=50`, in file names and LaTeX's labels
        name = "-".join([first.dataset, profile, first.preset, first.probe, _digest(key)])
        tables.append(Table(name, _title(first), _setting(first), _notes(members), rows))
    return tables


def write_tables(
    records: list[Record], folder: Path, title: Callable[[Record], str] = lambda record: record.method
) -> list[Table]:
    """Writes every table as CSV, LaTeX and Markdown, and all records as one tidy CSV; returns the tables."""
    folder = writable_folder(folder, "--out")
    tables = build_tables(records, title)
    for table in tables:
        write_text(folder / f"{table.name}.csv", table_csv(table))
        write_text(folder / f"{table.name}.tex", table_latex(table))
        write_text(folder / f"{table.name}.md", table_markdown(table))
    write_text(folder / "results.csv", records_csv(records))
    return tables


def table_csv(table: Table) -> str:
    """Means and standard deviations as numbers, in columns of their own."""
    lines = []
    for row in table.rows:
        line: dict[str, object] = {"method": row.method}
        for metric in METRICS:
            line[metric] = round(row.cells[metric].mean, 4)
            std = row.cells[metric].std
            line[f"{metric}_sd"] = None if std is None else round(std, 4)
        lines.append(line | {"splits": row.splits, "seeds": row.seeds, "runs": row.runs})
    return pd.DataFrame(lines).to_csv(index=False)


def table_markdown(table: Table) -> str:
    """A Markdown table with its caption below."""
    return f"{table.frame().to_markdown(index=False, disable_numparse=True)}\n\n{table.caption}\n"


def tables_text(tables: Iterable[Table]) -> str:
    """All tables for a terminal; what several of them share is said once."""
    blocks = []
    for setting, group in groupby(tables, lambda table: table.setting):
        blocks.append(setting)
        for table in group:
            body = table.frame().to_markdown(index=False, tablefmt="simple", disable_numparse=True)
            blocks.append(f"{table.title}\n{body}\n{table.notes}")
    return "\n\n".join(blocks)


def table_latex(table: Table) -> str:
    """A booktabs table that compiles as it is; it needs \\usepackage{booktabs}."""
    frame = table.frame(plus_minus="@PM@")
    style = frame.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    latex = style.to_latex(
        hrules=True,
        column_format="l" + "r" * (frame.shape[1] - 1),
        caption=_escape_latex(table.caption),
        label=f"tab:{table.name}",
        position="t",
        position_float="centering",
    )
    return latex.replace("@PM@", r"$\pm$")


def records_csv(records: Iterable[Record]) -> str:
    """Every record as one row, every field as one column; lists as text."""
    ordered = sorted(records, key=lambda r: (r.dataset, r.profile, r.preset, r.method, r.split, r.seed, r.probe, r.run_id))
    rows = []
    for record in ordered:
        row = asdict(record)
        for field in ("class_accuracy", "val_class_accuracy"):
            row[field] = " ".join(f"{value:.2f}" for value in row[field] or [])
        for field in ("class_counts", "group_sizes"):
            row[field] = " ".join(map(str, row[field]))
        for field in ("hparams", "recipe", "versions"):
            row[field] = json.dumps(row[field])
        rows.append(row)
    return pd.DataFrame(rows).to_csv(index=False)


def _row(title: Callable[[Record], str], runs: list[Record]) -> Row:
    def cell(metric: str) -> Cell:
        values = [getattr(run, metric) for run in runs]
        return Cell(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)

    cells = {metric: cell(metric) for metric in METRICS}
    return Row(title(runs[0]), cells, len({run.split for run in runs}), len({run.seed for run in runs}), len(runs))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _title(r: Record) -> str:
    return f"{r.dataset} (profile {r.profile}), test accuracy in %, probe {r.probe}"


def _setting(r: Record) -> str:
    scale = f" {SCALES[r.preset]} numbers, not comparable with published ones." if r.preset in SCALES else ""
    untrained = " Untrained networks." if r.epochs == 0 else ""
    sizes = ", ".join(map(str, r.recipe["sizes"]))
    optimizer = f"{r.recipe['optimizer']} lr {r.recipe['lr']:g} decay {r.recipe['weight_decay']:g}"
    return (
        f"Data: {r.data}. Preset {r.preset}: {r.backbone}, {r.epochs} epochs of {r.n_pretrain} images, batch {r.batch_size}, "
        f"{optimizer}, {r.executor} views of {sizes} px, {r.precision}.{scale}{untrained}"
    )


def _notes(records: list[Record]) -> str:
    r = records[0]
    passports = sorted({(x.split, x.official_split, x.passport) for x in records})
    splits = ", ".join(f"{split}{'' if official else ' of this suite'} [{name}]" for split, official, name in passports)
    seeds = ", ".join(map(str, sorted({x.seed for x in records})))
    many, medium, few = r.group_sizes
    left_out = max(record.unreadable for record in records)
    unreadable = f" Up to {left_out} pictures could not be read and were left out of training." if left_out else ""
    n_val = f", {r.n_val} validation" if r.n_val else ""
    return (
        f"{r.protocol}; {r.n_train} training{n_val}, {r.n_test} test images. "
        f"Many/medium/few: {r.grouping} ({many}/{medium}/{few} classes). Std: over these groups (ddof 0). "
        f"Mean ± sample standard deviation over runs (splits {splits}; seeds {seeds}); none for one run. "
        f"In brackets: the splits' passports.{unreadable}"
    )


def _escape_latex(text: str) -> str:
    for plain, escaped in (("%", r"\%"), ("_", r"\_"), ("&", r"\&"), ("#", r"\#"), ("±", r"$\pm$")):
        text = text.replace(plain, escaped)
    return text
