"""Spread between machines: how much the accuracy of one run, with the same id, differs between two machines.

`results/spread.json` has it for each benchmark, preset and probe.
"""

from collections.abc import Iterable, Mapping
from math import sqrt
from pathlib import Path

import msgspec

from core.errors import UserError
from core.schema import Count, Percent, read_json
from reports import shipped
from run_store.records import AccuracyRecord

FILE = "spread.json"
DEVIATIONS = 3  # standard deviations: 99.7 % of normally distributed differences are within
MIN_PAIRS = 5


class Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Differences of the mean class accuracy of equal runs on two machines, in percentage points."""

    sd: Percent  # standard deviation about 0
    mean: float  # of the second minus the first
    largest: Percent  # in absolute value
    runs: Count
    devices: list[str]

    @property
    def limit(self) -> float:
        """Largest difference of a reproduced run: DEVIATIONS standard deviations, at least the largest measured one."""
        return max(DEVIATIONS * self.sd, self.largest)


Spreads = dict[str, dict[str, Spread]]  # by benchmark and preset, such as cifar10lt/cpu, and by probe


def setting_of(record: AccuracyRecord) -> str:
    """Benchmark and preset of a record, a key of `Spreads`."""
    return f"{record.dataset}/{record.preset}"


def spreads(first: Iterable[AccuracyRecord], second: Iterable[AccuracyRecord]) -> Spreads:
    """Spread of each benchmark, preset and probe with MIN_PAIRS runs or more that are in both, and were trained twice."""
    others = {(record.run_id, record.probe): record for record in second}
    pairs: dict[str, dict[str, list[tuple[AccuracyRecord, AccuracyRecord]]]] = {}
    for record in first:
        other = others.get((record.run_id, record.probe))
        if other is not None and other.protocol == record.protocol and other != record:
            pairs.setdefault(setting_of(record), {}).setdefault(record.probe, []).append((record, other))
    return {
        setting: found
        for setting, by_probe in sorted(pairs.items())
        if (found := {probe: _spread(members) for probe, members in sorted(by_probe.items()) if len(members) >= MIN_PAIRS})
    }


def read_spreads(folder: Path | None = None) -> Spreads:
    """Spreads in the folder of shipped results; empty without the file. Raises UserError if it is damaged."""
    file = (folder or shipped.SHIPPED) / FILE
    return read_json(file, Spreads, "restore it from the repository") if file.exists() else {}


def spread_of(record: AccuracyRecord, known: Mapping[str, Mapping[str, Spread]]) -> Spread:
    """Spread of the benchmark, preset and probe of a record. Raises UserError if it is unknown."""
    spread = known.get(setting_of(record), {}).get(record.probe)
    if spread is None:
        raise UserError(
            f"{FILE} has no spread of the probe {record.probe} on {setting_of(record)}; choose others with --probes, or "
            "measure it with benchmarks/spread.py"
        )
    return spread


def _spread(pairs: Iterable[tuple[AccuracyRecord, AccuracyRecord]]) -> Spread:
    pairs = list(pairs)
    differences = [second.mean - first.mean for first, second in pairs]
    n = len(differences)
    return Spread(
        sd=round(sqrt(sum(difference**2 for difference in differences) / n), 3),
        mean=round(sum(differences) / n, 3),
        largest=round(max(map(abs, differences)), 3),
        runs=n,
        devices=sorted({record.device for pair in pairs for record in pair}),
    )
