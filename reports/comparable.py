"""What may be compared, and what the tables that hold it are called."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Protocol, TypeVar

from reports.records import Finding

SETTING = ("dataset", "profile", "data", "preset", "recipe", "precision", "executor")
COMPARABLE = (*SETTING, "probe", "protocol")
_text = json.JSONEncoder(sort_keys=True).encode  # `json.dumps` would make an encoder for every call
F = TypeVar("F", bound=Finding)
Title = Callable[[Finding], str]  # how the method of a record is printed; rows of other hyper-parameters should differ in it


def method_name(finding: Finding) -> str:
    """The registered name, where no better title is given."""
    return finding.method


def comparable(findings: Iterable[F], fields: Sequence[str] = COMPARABLE) -> list[tuple[str, list[F]]]:
    """Findings that agree in `fields`, with a key of what they agree in; ordered by it, then by method, split and seed.

    One split made in two ways, by other versions or lists of a probe, is two sets of data: its findings are kept apart.
    """
    findings = list(findings)
    passports: dict[tuple[str, int], set[str]] = {}
    for finding in findings:
        passports.setdefault((finding.data, finding.split), set()).add(finding.passport)

    def key(finding: F) -> str:
        other = [finding.passport] if len(passports[finding.data, finding.split]) > 1 else []
        return _text([*(getattr(finding, field) for field in fields), *other])

    keyed = sorted(((key(f), method_key(f), f.split, f.seed, f.run_id), n) for n, f in enumerate(findings))
    return [(name, [findings[n] for _, n in group]) for name, group in groupby(keyed, lambda item: item[0][0])]


class OfMethod(Protocol):
    """What is of a method with its hyper-parameters."""

    @property
    def method(self) -> str: ...

    @property
    def hparams(self) -> dict[str, Any]: ...


def method_key(of: OfMethod) -> tuple[str, str]:
    """What a row of a table is of: the method and its hyper-parameters."""
    return of.method, _text(of.hparams)


def by_method(findings: Iterable[F]) -> dict[tuple[str, str], list[F]]:
    """Findings by `method_key`, in its order."""
    rows: dict[tuple[str, str], list[F]] = {}
    for finding in findings:
        rows.setdefault(method_key(finding), []).append(finding)
    return dict(sorted(rows.items()))


def one_a_run(findings: Iterable[F]) -> list[F]:
    """One finding of each run: enough for what all of a run's records say alike."""
    return list({finding.run_id: finding for finding in findings}.values())


def digest(key: str) -> str:
    """Six hexadecimal digits that tell settings apart which a name would be too long for."""
    return hashlib.sha256(key.encode()).hexdigest()[:6]


def table_name(finding: Finding, key: str, *parts: str) -> str:
    """Name of files and label: `parts`, dataset, profile, mark, preset and digest of `key`, fit for a file and for LaTeX."""
    profile = finding.profile.replace("=", "")  # `ir=50`
    names = [finding.dataset, profile, finding.mark, finding.preset, *parts, digest(key)]
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", "-".join(name for name in names if name))
