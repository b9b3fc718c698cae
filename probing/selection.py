"""Selection of the probes of a benchmark."""

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from core.errors import UserError
from data.benchmark import BENCHMARKS
from data.lists.holdout import EMPTY, FileIndexLists
from data.lists.merge import TRAINING
from eval.probes import PROBES

log = logging.getLogger(__name__)


def select_probes(patterns: Sequence[str]) -> list[str]:
    """Names of the probes that match the patterns; without a pattern, of the default ones."""
    return PROBES.select(patterns) if patterns else [name for name, probe in PROBES if probe.default]


def allowed_probes(dataset: str, patterns: Sequence[str], data_root: Path) -> list[str]:
    """Selects probes by name or glob, or the default ones, and skips those whose index lists the benchmark lacks.

    Raises:
        UserError: index lists are missing for a probe selected by name, or for all probes.
    """
    absent = BENCHMARKS[dataset]().missing_lists(data_root)
    chosen = []
    for name in select_probes(patterns):
        lacking = " and ".join(need for need in PROBES[name].needs if need in absent)
        if lacking and name in map(str.lower, patterns):
            raise UserError(f"the probe {name} needs a {lacking} list, which {dataset} lacks; choose others with --probes")
        if lacking:
            log.info("%s: skipped the probe %s, which needs a %s list", dataset, name, lacking)
        else:
            chosen.append(name)
    if not chosen:
        raise UserError(f"{dataset} lacks the index lists of all chosen probes; choose others with --probes")
    return chosen


def needed_lists(probes: Iterable[str], absent: Collection[str]) -> frozenset[str]:
    """Names of the index lists that probes use on a benchmark, which lacks the lists `absent`."""
    some = np.zeros(1, dtype=np.int64)  # stands for any non-empty list: `feature_lists` depends on which lists are empty
    lists = FileIndexLists(**{role: EMPTY if role in absent else some for role in TRAINING})
    return frozenset(need for name in probes for need in (*PROBES[name].needs, *PROBES[name].feature_lists(lists)))
