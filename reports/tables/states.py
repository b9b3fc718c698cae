"""Runs that have no records yet, or never will: tables show them, they never drop them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from reports.tables.escapes import plain
from reports.tables.formats import Column, Entry, Table
from run_store.records import Record, settings_text

MATCHED = ("dataset", "profile", "preset", "precision", "executor")  # what places a run in a table, beside its recipe
SHOWN = 80  # letters of a reason in a footer


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run that was begun and is not done, with what places it in its tables."""

    status: Literal["unfinished", "failed"]
    reason: str  # of a failure, in a few words; may be empty
    run_id: str  # as in the records: where a probe of the run is recorded, that table does not miss it
    method: str  # registered name
    title: str  # how tables print the method, as for records
    hparams: dict[str, Any]  # of the method, all of them, as in records
    dataset: str
    profile: str
    split: int
    seed: int
    preset: str
    recipe: dict[str, Any]  # as in records
    precision: str
    executor: str
    data: str | None = None  # the line of the run's passport; None where it has none yet, which fits any
    probes: tuple[str, ...] | None = None  # those asked for; None where that is not known, which means all of a table's setting

    def belongs(self, record: Record) -> bool:
        """Whether the run would stand in the table of this record."""
        return (
            all(getattr(self, name) == getattr(record, name) for name in MATCHED)
            and self.data in (None, record.data)
            and (self.probes is None or record.probe in self.probes)
            and self.recipe_text == record.recipe_text
        )

    @cached_property
    def hparams_text(self) -> str:
        """As of records."""
        return settings_text(self.hparams)

    @cached_property
    def recipe_text(self) -> str:
        """As of records."""
        return settings_text(self.recipe)

    @property
    def words(self) -> str:
        """Split, seed, status and reason."""
        reason = plain(self.reason)
        short = reason if len(reason) <= SHOWN else f"{reason[: SHOWN - 3]}..."
        return f"split {self.split} seed {self.seed} {self.status}" + (f" ({short})" if short else "")


def missing_table(states: Iterable[RunState]) -> Table:
    """All runs that are not done, one a row."""
    ordered = sorted(states, key=lambda s: (s.dataset, s.profile, s.preset, s.title, s.split, s.seed, s.run_id))
    names = ("method", "dataset", "profile", "preset", "split", "seed", "status", "reason", "run_id")
    columns = [Column(name.replace("_", " ").capitalize(), name) for name in names]
    rows = [
        [Entry(plain(value) if isinstance(value, str) else value) for value in (s.title, *(getattr(s, n) for n in names[1:]))]
        for s in ordered
    ]
    return Table(
        "missing-runs",
        "Runs without all their records",
        "A run counts in tables of the probes that it has a record of; those of accuracies mark it as missing elsewhere.",
        columns,
        rows,
        runs=[(s.run_id,) for s in ordered],
    )
