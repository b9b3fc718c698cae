"""Runs that are unfinished or failed: tables list them instead of leaving them out."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from data.variants import variant_of
from reports.tables.table import Cell, Column, Table, single_line
from run_store.records import Record, settings_text

MATCHED = ("dataset", "profile", "preset", "precision", "executor")  # with the recipe: what assigns a run to a table
MAX_REASON = 80  # characters of a reason in a caption


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run that was started and is not finished, with the fields that assign it to tables."""

    status: Literal["unfinished", "failed"]
    reason: str  # last line of the error; may be empty
    run_id: str  # as in records; a probe that has a record of this run is not missing
    method: str  # registry name
    title: str  # printed name of the method
    hparams: dict[str, Any]  # as in records
    dataset: str
    profile: str
    split: int
    seed: int
    preset: str
    recipe: dict[str, Any]  # as in records
    precision: str
    executor: str
    data: str | None = None  # as in records; None (unknown) matches any
    probes: tuple[str, ...] | None = None  # requested probes; None (unknown) means all

    def belongs(self, record: Record) -> bool:
        """Whether the run, once finished, would be in the table of this record."""
        return (
            all(getattr(self, name) == getattr(record, name) for name in MATCHED)
            and self.data in (None, record.data)
            and (self.probes is None or record.probe in self.probes)
            and self.recipe_text == record.recipe_text
        )

    @property
    def variant(self) -> str:
        """Name of the variant of the benchmark, for display."""
        return variant_of(self.dataset, self.profile)

    @cached_property
    def hparams_text(self) -> str:
        """Hyper-parameters as JSON, as in records."""
        return settings_text(self.hparams)

    @cached_property
    def recipe_text(self) -> str:
        """Recipe as JSON, as in records."""
        return settings_text(self.recipe)

    @property
    def summary(self) -> str:
        """Split, seed, status and reason."""
        reason = single_line(self.reason)
        short = reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 3]}..."
        return f"split {self.split} seed {self.seed} {self.status}" + (f" ({short})" if short else "")


def missing_table(states: Iterable[RunState]) -> Table:
    """All unfinished and failed runs, one per row."""
    ordered = sorted(states, key=lambda s: (s.dataset, s.profile, s.preset, s.title, s.split, s.seed, s.run_id))
    names = ("method", "dataset", "variant", "preset", "split", "seed", "status", "reason", "run_id")
    rows = [[Cell(value) for value in (s.title, *(getattr(s, name) for name in names[1:]))] for s in ordered]
    return Table(
        "missing-runs",
        "Unfinished and failed runs",
        "Tables of accuracies mark rows with missing runs by †.",
        "A run is in the tables of those probes that have a record of it.",
        [Column(name.replace("_", " ").capitalize(), name) for name in names],
        rows,
        run_ids=[(s.run_id,) for s in ordered],
        file="missing-runs",
    )
