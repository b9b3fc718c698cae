"""A folder of records of one network on one split; base of the folders of runs and of external pretrained weights."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from core.errors import UserError
from core.files import append_line, writable_folder
from data.passport import Passport
from run_store.layout import RESULTS
from run_store.lease import Lease, hold
from run_store.passport import read_passport, upgrade_passport
from run_store.records import Record, read_records

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordFolder:
    """A folder with a passport, records, and a lock."""

    path: Path
    lease: Lease | None = field(default=None, kw_only=True, compare=False, repr=False)  # of this process, from `lock`

    @property
    def results(self) -> Path:
        return self.path / RESULTS

    def create(self) -> None:
        """Creates the folder. Raises UserError if it is not writable."""
        writable_folder(self.path, "--out")

    @contextmanager
    def lock(self) -> Iterator[Self]:
        """Context in which this process alone writes the folder; yields the folder with the lease on it.

        Raises:
            Busy: another process holds it.
            UserError: the file system has no locks.
        """
        with hold(self.path) as lease:
            yield replace(self, lease=lease)

    def check_lease(self) -> None:
        """Raises LeaseLost if another process has taken over the folder from this one."""
        if self.lease is not None:
            self.lease.check()

    def passport(self) -> Passport | None:
        """Passport of the data, if there is one. Raises UserError if it is damaged or of an earlier version."""
        return read_passport(self.path)

    def check_data(self, passport: Passport) -> None:
        """Raises UserError if the folder is of other data than the current, which `passport` identifies."""
        upgrade_passport(self.path, passport)
        kept = self.passport()
        if kept is not None and not kept.same_training_data(passport):
            raise UserError(
                f"{self.path} was trained or probed on other data (passport {kept.short}) than the current: {passport.line} "
                f"({passport.short}); restore the data or delete the folder"
            )

    def warn_of_changed_data(self, passport: Passport) -> None:
        """Logs a warning if existing records are of other data or index lists than the current, which `passport` identifies.

        Index lists that the records did not have are ignored.
        """
        try:
            self.check_data(passport)
            kept = self.passport()
        except UserError as error:
            log.warning("%s; its records are kept", error)
            return
        if kept and (changed := kept.changed_lists(passport)):
            log.warning(
                "%s was probed with other index lists (%s; passport %s) than the current ones (passport %s); its records are "
                "kept; to probe it again, delete its %s",
                *(self.path, ", ".join(changed), kept.short, passport.short, self.results.name),
            )

    def records(self) -> list[Record]:
        """Records written so far."""
        return read_records([self.results], warn=False) if self.results.exists() else []

    def missing(self, probes: Iterable[str]) -> list[str]:
        """Those of `probes` without a record."""
        recorded = {record.probe for record in self.records()}
        return [probe for probe in probes if probe not in recorded]

    def add(self, record: Record) -> None:
        """Appends a record and flushes it to disk. Raises like `check_lease`."""
        self.check_lease()
        append_line(self.results, record.to_line())
