"""A folder of records of one network on one split; base of the folders of runs and of external pretrained weights."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import UserError
from core.files import append_line, writable_folder
from data.passport import Passport
from run_store.layout import LOCK, RESULTS
from run_store.passport import read_passport, upgrade_passport
from run_store.records import Record, read_records


class Busy(UserError):
    """Another process holds the lock of the folder."""


@dataclass(frozen=True)
class RecordFolder:
    """A folder with a passport, records, and a lock."""

    path: Path

    @property
    def results(self) -> Path:
        return self.path / RESULTS

    def create(self) -> None:
        """Creates the folder. Raises UserError if it is not writable."""
        writable_folder(self.path, "--out")

    def lock(self) -> AbstractContextManager:
        """Context that holds the lock of the folder.

        Raises:
            Busy: another process holds it.
            UserError: the file system has no locks.
        """
        file = self.path / LOCK
        try:
            return FileLock(file).acquire(timeout=0)
        except Timeout as error:
            raise Busy(
                f"another process has locked {self.path}; wait until it ends, or give another --out; delete {file} if no "
                "process on any machine uses the folder"
            ) from error
        except (OSError, NotImplementedError) as error:
            raise UserError(f"{file} cannot be locked ({error}); give an --out on a file system with locks") from error

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

    def records(self) -> list[Record]:
        """Records written so far."""
        return read_records([self.results], warn=False) if self.results.exists() else []

    def missing(self, probes: Iterable[str]) -> list[str]:
        """Those of `probes` without a record."""
        recorded = {record.probe for record in self.records()}
        return [probe for probe in probes if probe not in recorded]

    def add(self, record: Record) -> None:
        """Appends a record and flushes it to disk."""
        append_line(self.results, record.to_line())
