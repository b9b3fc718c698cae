"""Published numbers beside ours, and whether ours agree with them or cannot be compared.

`published.csv` has the numbers as they were found, each with its source, and what they are of in this suite's names: `our_*`,
empty where nothing here corresponds (balanced data, other methods). Of the method's settings and the recipe, `agree` has those
without which the number is another one, `told` those that are only told of where ours differ.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports import captions
from reports.comparable import Title, by_method, comparable, method_name, run_ids, table_name
from reports.tables.accuracy import Cell, cell, entry
from reports.tables.formats import Column, Entry, Table
from run_store.records import AccuracyRecord

FILE = Path(__file__).parent.parent / "published.csv"
QUANTITIES = {"avg": ("mean", "All"), "many": ("many", "Many"), "medium": ("medium", "Medium"), "few": ("few", "Few")}
UNVERIFIED = "UNVERIFIED"  # how the source of a number begins that nobody could check
DEVIATIONS, POINTS = 2, 1.0  # within how many of our standard deviations, or points, a number counts as reproduced
RULE = (
    f"Reproduced: the published value is within {DEVIATIONS} of our sample standard deviations, or within {POINTS:g} point "
    "where that is more or n = 1; else ours is below or above. A number of another scale, length, network, split or "
    "temperature is not comparable. Ours is of the published splits where they are there."
)
CACHED = "on cached features"
OWN_SHOTS = "five draws of this suite in place of the published lists"


@dataclass(frozen=True)
class Published:
    """One published row."""

    method: str  # as its paper calls it
    dataset: str
    protocol: str
    split: str
    values: dict[str, float]  # by key of QUANTITIES, in per cent
    epochs: int
    source: str
    our_method: str  # empty, as all that follows, where nothing corresponds
    our_dataset: str
    our_profile: str
    our_probes: tuple[str, ...]
    our_backbone: str
    our_splits: tuple[int, ...]
    agree: dict[str, str]
    told: dict[str, str]

    @property
    def verified(self) -> bool:
        """Whether the number was seen where it was published."""
        return not self.source.startswith(UNVERIFIED)

    def corresponds(self, record: AccuracyRecord) -> bool:
        """Whether method, data and protocol are the same."""
        names = (record.method, record.dataset, record.profile)
        return names == (self.our_method, self.our_dataset, self.our_profile) and record.probe in self.our_probes


def read_published(file: Path = FILE) -> list[Published]:
    """All rows of the file."""
    with open(file, newline="", encoding="utf-8") as lines:
        return [_read(row) for row in csv.DictReader(lines)]


def published_tables(
    records: Sequence[AccuracyRecord], title: Title = method_name, published: Sequence[Published] | None = None
) -> list[Table]:
    """Published numbers beside those of the same method, data and protocol; one table for each probe that has any.

    Args:
        records: of any runs.
        title: how the method of a record is printed.
        published: default: those of the file.
    """
    published = read_published() if published is None else published
    columns = [
        Column("Method", "method"),
        Column("Published as", "published_as", reach="text"),
        Column("Of", "quantity"),
        Column("Published", "published", decimals=2),
        Column("Ours", "ours", spread=True),
        Column("Status", "status"),
        Column("n", "runs"),
        Column("Why", "why", reach="text"),
        Column("Ours differs in", "differs", reach="text"),
        Column("Source", "source", reach="text"),
    ]
    tables = []
    for key, members in comparable(records):
        first = members[0]
        rows: list[list[Entry]] = []
        behind: list[tuple[str, ...]] = []
        for runs in by_method(members).values():
            for row in (row for row in published if row.corresponds(runs[0])):
                rows += _beside(row, runs, title(runs[0]))
            behind += [run_ids(runs)] * (len(rows) - len(behind))
        if rows:
            notes = f"{captions.setting(first)} {captions.probe(members)} {captions.runs(members)} {RULE}"
            name = f"published-{table_name(first, key, first.probe)}"
            probe = captions.probe_title(first.probe)
            what = f"{captions.subject(first, key)}, published test accuracy in % beside ours, probe {probe}"
            tables.append(Table(name, what, notes, columns, rows, first, first.probe, behind))
    return tables


def obstacles(row: Published, runs: Sequence[AccuracyRecord]) -> list[str]:
    """Why runs that correspond cannot be compared with a published row; empty if they can."""
    first = runs[0]
    found = [captions.SCALES[first.preset]] if first.preset in captions.SCALES else []
    if first.mark:
        found.append(f"data ({first.mark})")
    if "pretrained_on" in first.recipe:
        found.append(f"pretrained on {first.recipe['pretrained_on']}")
    if first.epochs != row.epochs:
        found.append(f"other epochs ({first.epochs} vs {row.epochs})")
    if first.backbone != row.our_backbone:
        found.append(f"backbone ({first.backbone} vs {row.our_backbone})")
    splits = {run.split for run in runs if run.official_split}
    if not splits.issuperset(row.our_splits):
        found.append(f"split ({_listed(splits) or 'of this suite'} vs {_listed(row.our_splits)})")
    found += [f"{name} ({_ours(first, name)} vs {value})" for name, value in _differing(row.agree, first)]
    return found


def status(row: Published, quantity: str, ours: Cell, reasons: Sequence[str]) -> str:
    """What our number says of the published one.

    Args:
        row: published.
        quantity: key of QUANTITIES.
        ours: mean over our runs on the published splits.
        reasons: those of `obstacles`.
    """
    if not row.verified:
        return "unverified"
    if reasons:
        return "not comparable"
    margin = max(POINTS, DEVIATIONS * (ours.std or 0.0))
    difference = ours.mean - row.values[quantity]
    return "reproduced" if abs(difference) <= margin else "below" if difference < 0 else "above"


def _beside(row: Published, runs: Sequence[AccuracyRecord], name: str) -> list[list[Entry]]:
    reasons = obstacles(row, runs)
    same = [run for run in runs if run.official_split and run.split in row.our_splits] or runs
    differs = [f"{key} ({_ours(same[0], key)} vs {value})" for key, value in _differing(row.told, same[0])]
    differs += [CACHED] if "-cached" in same[0].probe else []
    differs += [OWN_SHOTS] if len(same[0].draw_means) > 1 else []
    lines = []
    for quantity, value in row.values.items():
        field, head = QUANTITIES[quantity]
        ours = cell(getattr(run, field) for run in same)
        if ours is None:
            continue
        said = status(row, quantity, ours, reasons)
        texts = [", ".join(reasons), "; ".join(differs), row.source]
        published_as = f"{row.method}, {row.protocol}, {row.split}"
        numbers = [Entry(value), entry(ours), Entry(said), Entry(len(same))]
        lines.append([Entry(name), Entry(published_as), Entry(head), *numbers, *map(Entry, texts)])
    return lines


def _differing(wanted: dict[str, str], run: AccuracyRecord) -> list[tuple[str, str]]:
    """Those settings of which the run has another value, with the wanted one."""
    return [(name, value) for name, value in wanted.items() if not _same(_ours(run, name), value)]


def _ours(run: AccuracyRecord, name: str) -> object:
    return run.hparams.get(name, run.recipe.get(name))


def _same(value: object, wanted: str) -> bool:
    if isinstance(value, int | float):
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False
    return str(value) == wanted


def _listed(splits: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(splits)))


def _settings(text: str) -> dict[str, str]:
    return dict(setting.split("=", 1) for setting in text.split())


def _read(row: dict[str, str]) -> Published:
    return Published(
        method=row["method"],
        dataset=row["dataset"],
        protocol=row["protocol"],
        split=row["split"],
        values={quantity: float(row[quantity]) for quantity in QUANTITIES if row[quantity]},
        epochs=int(row["epochs"]),
        source=row["source"],
        our_method=row["our_method"],
        our_dataset=row["our_dataset"],
        our_profile=row["our_profile"],
        our_probes=tuple(row["our_probes"].split()),
        our_backbone=row["our_backbone"],
        our_splits=tuple(map(int, row["our_splits"].split())),
        agree=_settings(row["agree"]),
        told=_settings(row["told"]),
    )
