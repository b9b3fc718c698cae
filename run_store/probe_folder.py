"""The folder of the records of a pretrained backbone: weights from a file, or a run probed on other data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.files import remove_unfinished, write_json
from data.passport import Passport
from run_store.layout import CONFIG
from run_store.passport import write_passport
from run_store.record_folder import RecordFolder


@dataclass(frozen=True)
class ProbeFolder(RecordFolder):
    """The folder of the records of one pretrained backbone on one split."""

    config: Mapping[str, Any]  # identity of weights and data
    run_id: str  # hash of the configuration

    def begin(self, passport: Passport) -> None:
        """Writes configuration and passport; requires the lock. Raises UserError if existing records are of other data."""
        remove_unfinished(self.path)
        self.check_data(passport)
        write_passport(self.path, passport)
        write_json(self.path / CONFIG, self.config)
