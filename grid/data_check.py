"""Whether runs that are done were trained and probed on the data that is there now."""

import logging
from collections.abc import Iterable
from functools import cache

from core.errors import UserError
from data.cache import DataThere
from data.passport import Passport
from run_store.folder import RunFolder

log = logging.getLogger(__name__)


def warn_of_other_data(done: Iterable[RunFolder], there: DataThere) -> None:
    """Warns of each done run that was trained on other data than is there now, or whose probes used other lists.

    A list that has come since is no other list. Nothing is fetched; where data is not there any more, there is nothing to
    compare with.
    """

    @cache
    def now(dataset: str, profile: str, split: int) -> Passport | None:
        try:
            return there.passport(dataset, profile, split)
        except UserError:
            return None

    for run in done:
        passport = now(run.config.dataset, run.config.profile, run.config.split)
        try:
            kept = run.identity()
        except UserError as error:
            log.warning("%s", error)
            continue
        if passport is None or kept is None:
            continue
        if not kept.trained_on(passport):
            log.warning(
                "%s is done, but on other data (passport %s) than is there now (%s): its numbers stay what they are; delete "
                "the folder to run it again",
                *(run.path, kept.short, passport.short),
            )
        elif changed := kept.other_lists(passport):
            log.warning(
                "%s is done, but its probes had other lists (%s; passport %s) than are there now (%s): its numbers stay what "
                "they are; delete %s to probe it again",
                *(run.path, ", ".join(changed), kept.short, passport.short, run.results.name),
            )
