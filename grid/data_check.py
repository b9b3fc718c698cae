"""Compares the data of finished runs with the current data."""

from collections.abc import Iterable
from functools import cache

from core.errors import UserError
from data.cache import DataCache
from data.passport import Passport
from run_store.folder import RunFolder


def warn_of_changed_data(done: Iterable[RunFolder], data: DataCache) -> None:
    """Logs a warning for each finished run that was trained on other data, or probed with other index lists, than the current.

    Index lists that the run did not have are ignored. Downloads nothing; runs whose data is missing are not checked.
    """

    @cache
    def current(dataset: str, profile: str, split: int) -> Passport | None:
        try:
            return data.passport(dataset, profile, split)
        except UserError:
            return None

    for run in done:
        passport = current(run.config.dataset, run.config.profile, run.config.split)
        if passport is not None:
            run.warn_of_changed_data(passport)
