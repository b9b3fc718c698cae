"""Whether runs that are done were trained and probed on the data that is there now."""

import logging
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from core.errors import UserError
from data.benchmark import BENCHMARKS, Benchmark, Source
from data.lists.longtail import Indices
from data.passport import passport_of
from grid.store import RunFolder

log = logging.getLogger(__name__)


def warn_of_other_data(done: Iterable[RunFolder], data_root: Path) -> None:
    """Warns of each done run whose passport is not that of the data under `data_root`: its numbers are of other data.

    Nothing is fetched. Where the data is not there any more, there is nothing to compare with.
    """
    read = cache(lambda dataset: _read(dataset, data_root))
    for run in done:
        config = run.config
        found = read(config.dataset)
        if found is None:
            continue
        benchmark, labels, source = found
        lists = benchmark.lists(labels, config.profile, config.split)
        now = passport_of(benchmark, config.profile, config.split, labels, lists, source)
        if run.passport() not in (None, now.short):
            log.warning(
                "%s is done, but on other data (passport %s) than is there now (%s): its numbers stay what they are; delete "
                "the folder to run it again",
                *(run.path, run.passport(), now.short),
            )


def _read(dataset: str, data_root: Path) -> tuple[Benchmark, Indices, Source] | None:
    benchmark = BENCHMARKS[dataset]()
    try:
        return benchmark, *benchmark.labels(data_root)
    except UserError:
        return None
