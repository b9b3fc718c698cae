"""What may be compared, and what the tables that hold it are called."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol, TypeVar

from run_store.records import Record, settings_text

SETTING = ("dataset", "profile", "data", "preset", "recipe", "precision", "executor")
COMPARABLE = (*SETTING, "probe", "protocol")
F = TypeVar("F", bound=Record)
Title = Callable[[Record], str]  # how the method of a record is printed; rows of other hyper-parameters should differ in it


def method_name(record: Record) -> str:
    """The registered name, where no better title is given."""
    return record.method


def comparable(
    records: Iterable[F], fields: Sequence[str] = COMPARABLE, *, passports: bool = True
) -> list[tuple[str, list[F]]]:
    """Records that agree in `fields`, with a key of what they agree in; ordered by it, then by method, split and seed.

    One split made in two ways, by other versions or lists of a probe, is two sets of data: among records that agree, those of
    such a split are kept apart from each other and from all other splits, unless `passports` is false.
    """
    records = list(records)
    agreed_of = attrgetter(*("recipe_text" if field == "recipe" else field for field in fields))
    agreeing = [agreed_of(record) for record in records]
    ways: dict[tuple[tuple[object, ...], str, int], set[str]] = {}
    for agreed, record in zip(agreeing, records, strict=True):
        ways.setdefault((agreed, record.data, record.split), set()).add(record.passport)
    keys: dict[tuple[tuple[object, ...], str], str] = {}
    keyed = []
    for n, (agreed, f) in enumerate(zip(agreeing, records, strict=True)):
        passport = f.passport if passports and len(ways[agreed, f.data, f.split]) > 1 else ""
        key = keys.get((agreed, passport))
        if key is None:
            apart = [{"passport": passport}] if passport else []
            key = keys[agreed, passport] = settings_text([*(getattr(f, field) for field in fields), *apart])
        keyed.append(((key, method_key(f), f.split, f.seed, f.run_id), n))
    keyed.sort()
    return [(name, [records[n] for _, n in group]) for name, group in groupby(keyed, lambda item: item[0][0])]


def apart_by(key: str) -> str:
    """The passport by which records of a key of `comparable` are kept apart from their like; empty where they are not."""
    last = json.loads(key)[-1]
    return last["passport"] if isinstance(last, dict) and set(last) == {"passport"} else ""


class OfMethod(Protocol):
    """What is of a method with its hyper-parameters."""

    @property
    def method(self) -> str: ...

    @property
    def hparams_text(self) -> str: ...


def method_key(of: OfMethod) -> tuple[str, str]:
    """What a row of a table is of: the method and its hyper-parameters."""
    return of.method, of.hparams_text


def by_method(records: Iterable[F]) -> dict[tuple[str, str], list[F]]:
    """Records by `method_key`, in its order."""
    rows: dict[tuple[str, str], list[F]] = {}
    for record in records:
        rows.setdefault(method_key(record), []).append(record)
    return dict(sorted(rows.items()))


def one_a_run(records: Iterable[F]) -> list[F]:
    """One record of each run: enough for what all of a run's records say alike."""
    return list({record.run_id: record for record in records}.values())


def run_ids(records: Iterable[Record]) -> tuple[str, ...]:
    """The runs that records are of, each once, in their order."""
    return tuple(dict.fromkeys(record.run_id for record in records))


def digest(key: str) -> str:
    """Six hexadecimal digits that tell settings apart which a name would be too long for."""
    return hashlib.sha256(key.encode()).hexdigest()[:6]


def table_name(record: Record, key: str, *parts: str) -> str:
    """Name of files and label: `parts`, dataset, profile, mark, preset and digest of `key`, fit for a file and for LaTeX."""
    profile = record.profile.replace("=", "")  # `ir=50`
    names = [record.dataset, profile, record.mark, record.preset, *parts, digest(key)]
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", "-".join(name for name in names if name))
