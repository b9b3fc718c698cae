"""Published numbers, the corresponding numbers of this suite, and whether the latter reproduce them.

`published.csv` has the published numbers with their source and, in columns `our_*`, the corresponding names of this suite,
empty if there is no counterpart (other methods, a probe that is not stated). Of the settings of method and recipe, those in
`agree` must be equal for a comparison; differences in those of `listed` are named. A row with an `obstacle`, such as images
that the suite does not have, is comparable with no run.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import UserError, first_line
from core.files import read_bytes
from core.schema import InvalidData, Percent, convert, damaged
from reports import captions
from reports.comparable import Title, by_method, comparable_groups, method_name, run_ids, table_name
from reports.tables.accuracy import MeanStd, mean_std
from reports.tables.table import Cell, Column, Table
from run_store.records import AccuracyRecord

FILE = Path(__file__).parent.parent / "published.csv"
QUANTITIES = {"avg": ("mean", "All"), "many": ("many", "Many"), "medium": ("medium", "Medium"), "few": ("few", "Few")}
ADVICE = "restore it from the repository"
UNVERIFIED = "UNVERIFIED"  # prefix of the source of a number that was not checked against the paper
DEVIATIONS, POINTS = 2, 1.0  # a number is reproduced within so many standard deviations of ours, or percentage points
REPRODUCED = f"Reproduced: within {DEVIATIONS} of our std, or {POINTS:g} point."
RULE = (
    f"Reproduced: the published value is within {DEVIATIONS} of our sample standard deviations, or within {POINTS:g} "
    "percentage point if that is more or n = 1; otherwise ours is below or above. Numbers of different scale, epochs, network, "
    "splits or temperature are not comparable. Ours are on the published splits where available."
)
CACHED = "on cached features"
OWN_SHOTS = "five draws by this suite instead of the published lists"


@dataclass(frozen=True)
class Published:
    """One published row."""

    method: str  # as in the paper
    dataset: str
    protocol: str
    split: str
    values: dict[str, Percent]  # by key of QUANTITIES, in per cent
    epochs: int
    source: str
    our_method: str  # empty, like the following fields, without a counterpart
    our_dataset: str
    our_profile: str
    our_probes: tuple[str, ...]
    our_backbone: str
    our_splits: tuple[int, ...]
    agree: dict[str, str]
    listed: dict[str, str]
    obstacle: str  # why no run is comparable; empty if some are

    @property
    def verified(self) -> bool:
        """Whether the number was checked against the publication."""
        return not self.source.startswith(UNVERIFIED)

    def corresponds(self, record: AccuracyRecord) -> bool:
        """Whether method, data and probe are the same."""
        names = (record.method, record.dataset, record.profile)
        return names == (self.our_method, self.our_dataset, self.our_profile) and record.probe in self.our_probes


def read_published(file: Path = FILE) -> list[Published]:
    """All rows of the file. Raises UserError for a row that lacks a field or has one of a wrong type."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(file).decode(), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(file, error, ADVICE) from error
    return [_read(row, f"{file}, row {number}") for number, row in enumerate(rows, start=1)]


def published_tables(
    records: Sequence[AccuracyRecord], title: Title = method_name, published: Sequence[Published] | None = None
) -> list[Table]:
    """Published numbers beside ours for the same method, data and protocol; one table per setting and probe.

    Args:
        records: of any runs.
        title: printed name of a record's method.
        published: default: the rows of `published.csv`.
    """
    published = read_published() if published is None else published
    columns = [
        Column("Method", "method"),
        Column("Published as", "published_as", in_latex=False),
        Column("Quantity", "quantity"),
        Column("Published", "published", decimals=2),
        Column("Ours", "ours", std=True),
        Column("Status", "status"),
        Column("n", "runs"),
        Column("Why", "why", in_latex=False),
        Column("Ours differs in", "differs", in_latex=False),
        Column("Source", "source", in_latex=False),
    ]
    tables = []
    for key, members in comparable_groups(records):
        first = members[0]
        rows: list[list[Cell]] = []
        ids: list[tuple[str, ...]] = []
        for runs in by_method(members).values():
            for row in (row for row in published if row.corresponds(runs[0])):
                rows += _rows(row, runs, title(runs[0]))
            ids += [run_ids(runs)] * (len(rows) - len(ids))
        if rows:
            probe = captions.probe_title(first.probe)
            tables.append(
                Table(
                    f"published-{table_name(first, key, first.probe)}",
                    f"{captions.subject(first, key)}, published test accuracy in % beside ours, probe {probe}",
                    captions.caption(members, REPRODUCED),
                    f"{captions.setting(first)} {captions.protocol(members)} {captions.runs(members)} {RULE}",
                    columns,
                    rows,
                    members,
                    first.probe,
                    ids,
                    file=f"published-{captions.probe_file(first.probe)}",
                )
            )
    return tables


def obstacles(row: Published, runs: Sequence[AccuracyRecord]) -> list[str]:
    """Reasons why runs are not comparable with a published row; empty if they are."""
    first = runs[0]
    found = [captions.SCALES[first.preset]] if first.preset in captions.SCALES else []
    if first.mark:
        found.append(f"data ({first.mark})")
    if source := captions.pretrained_on(first):
        found.append(f"pretrained on {source}")
    if first.epochs != row.epochs:
        found.append(f"other epochs ({first.epochs} vs {row.epochs})")
    if first.backbone != row.our_backbone:
        found.append(f"backbone ({first.backbone} vs {row.our_backbone})")
    splits = {run.split for run in runs if run.official_split}
    if not splits.issuperset(row.our_splits):
        found.append(f"split ({_joined(splits) or 'of this suite'} vs {_joined(row.our_splits)})")
    found += [f"{name} ({_ours(first, name)} vs {value})" for name, value in _differing(row.agree, first)]
    return [*found, row.obstacle] if row.obstacle else found


def status(row: Published, quantity: str, ours: MeanStd, reasons: Sequence[str]) -> str:
    """`unverified`, `not comparable`, `reproduced`, `below` or `above`.

    Args:
        row: the published numbers.
        quantity: key of QUANTITIES.
        ours: mean over our runs on the published splits.
        reasons: result of `obstacles`.
    """
    if not row.verified:
        return "unverified"
    if reasons:
        return "not comparable"
    margin = max(POINTS, DEVIATIONS * (ours.std or 0.0))
    difference = ours.mean - row.values[quantity]
    return "reproduced" if abs(difference) <= margin else "below" if difference < 0 else "above"


def _rows(row: Published, runs: Sequence[AccuracyRecord], name: str) -> list[list[Cell]]:
    reasons = obstacles(row, runs)
    same = [run for run in runs if run.official_split and run.split in row.our_splits] or runs
    differs = [f"{key} ({_ours(same[0], key)} vs {value})" for key, value in _differing(row.listed, same[0])]
    differs += [CACHED] if "-cached" in same[0].probe else []
    differs += [OWN_SHOTS] if len(same[0].draw_means) > 1 else []
    lines = []
    for quantity, value in row.values.items():
        field, head = QUANTITIES[quantity]
        ours = mean_std(getattr(run, field) for run in same)
        if ours is None:
            continue
        result = status(row, quantity, ours, reasons)
        texts = [", ".join(reasons), "; ".join(differs), row.source]
        published_as = f"{row.method}, {row.protocol}, {row.split}"
        numbers = [Cell(value), Cell(ours.mean, ours.std), Cell(result), Cell(len(same))]
        lines.append([Cell(name), Cell(published_as), Cell(head), *numbers, *map(Cell, texts)])
    return lines


def _differing(published: dict[str, str], run: AccuracyRecord) -> list[tuple[str, str]]:
    """(name, published value) of the settings in which the run differs."""
    return [(name, value) for name, value in published.items() if not _same(_ours(run, name), value)]


def _ours(run: AccuracyRecord, name: str) -> object:
    return run.hparams.get(name, run.recipe.get(name))


def _same(value: object, published: str) -> bool:
    if isinstance(value, int | float):
        try:
            return float(value) == float(published)
        except ValueError:
            return False
    return str(value) == published


def _joined(splits: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(splits)))


def _read(row: dict[str, Any], place: str) -> Published:
    try:
        parsed = row | {
            "values": {quantity: row[quantity] for quantity in QUANTITIES if row[quantity]},
            "our_probes": row["our_probes"].split(),
            "our_splits": row["our_splits"].split(),
            **{name: dict(setting.split("=", 1) for setting in row[name].split()) for name in ("agree", "listed")},
        }
        return convert(parsed, Published, strict=False)  # which parses numbers
    except (KeyError, ValueError, AttributeError, InvalidData) as error:  # a short row has None for the last fields
        raise UserError(f"{place} is invalid ({first_line(error)}); {ADVICE}") from error
