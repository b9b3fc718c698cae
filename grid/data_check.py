"""Compares the data of finished runs with the current data."""

import logging
from collections.abc import Iterable
from functools import cache

from core.errors import UserError
from data.cache import DataCache
from data.passport import Passport
from run_store.folder import RunFolder

log = logging.getLogger(__name__)


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
        if passport is None:
            continue
        try:
            run.check_data(passport)
            kept = run.passport()
        except UserError as error:
            log.warning("%s; its records are kept", error)
            continue
        if kept and (changed := kept.changed_lists(passport)):
            log.warning(
                "%s was probed with other index lists (%s; passport %s) than the current ones (passport %s); its records are "
                "kept; to probe it again, delete its %s",
                *(run.path, ", ".join(changed), kept.short, passport.short, run.results.name),
            )
