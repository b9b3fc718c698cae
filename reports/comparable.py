"""Groups of comparable records, and the file names of their tables and figures."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Protocol, TypeVar

from reports.shipped_record import ShippedRecord
from run_store.records import Record, settings_text

SETTING = ("dataset", "profile", "data", "preset", "recipe", "precision", "executor")
COMPARABLE = (*SETTING, "probe", "protocol")
R = TypeVar("R", bound=Record)
K = TypeVar("K")
S = TypeVar("S", bound=tuple)
RunKey = tuple[str, int, int]  # split of the training, seed, split of the probe
Title = Callable[[Record], str]  # the printed name of a record's method; should differ between hyper-parameters

ClassNames = Callable[[Record], Sequence[str]]  # the names of a record's classes; empty if unknown


def no_class_names(record: Record) -> Sequence[str]:
    """The default of ClassNames."""
    return ()


def method_name(record: Record) -> str:
    """The registry name: the default title."""
    return record.method


def comparable_groups(
    records: Iterable[R], fields: Sequence[str] = COMPARABLE, *, by_passport: bool = True
) -> list[tuple[str, list[R]]]:
    """Records with equal values of `fields`, as (key, records); sorted by key, then method, split, seed and run id.

    Within such a group, a split whose records have several passports (its data were made in different ways) has a group for
    each passport, separate from the other splits.

    Args:
        records: any records.
        fields: names of record fields.
        by_passport: whether to separate passports.
    """
    records = list(records)
    values_of = attrgetter(*("recipe_text" if field == "recipe" else field for field in fields))
    values = [values_of(record) for record in records]
    passports: dict[tuple[tuple[object, ...], str, int], set[str]] = {}
    for value, record in zip(values, records, strict=True):
        passports.setdefault((value, record.data, record.split), set()).add(record.passport)
    keys: dict[tuple[tuple[object, ...], str], str] = {}
    keyed = []
    for n, (value, r) in enumerate(zip(values, records, strict=True)):
        passport = r.passport if by_passport and len(passports[value, r.data, r.split]) > 1 else ""
        key = keys.get((value, passport))
        if key is None:
            separate = [{"passport": passport}] if passport else []
            key = keys[value, passport] = settings_text([*(getattr(r, field) for field in fields), *separate])
        keyed.append(((key, method_key(r), r.split, r.seed, r.run_id), n))
    keyed.sort()
    return [(key, [records[n] for _, n in group]) for key, group in groupby(keyed, lambda item: item[0][0])]


def split_passport(key: str) -> str:
    """The passport of a group that `comparable_groups` separated from other passports of its split; else empty."""
    last = json.loads(key)[-1]
    return last["passport"] if isinstance(last, dict) and set(last) == {"passport"} else ""


class HasMethod(Protocol):
    """A record or a run with a method and its hyper-parameters."""

    @property
    def method(self) -> str: ...

    @property
    def hparams_text(self) -> str: ...


def method_key(item: HasMethod) -> tuple[str, str]:
    """Method and hyper-parameters: one row of a table."""
    return item.method, item.hparams_text


def run_key(record: Record) -> RunKey:
    """What the runs of two methods are paired by.

    A record of a network that was trained on other data does not have the split of the training; the hash of the pretraining
    set takes its place. External weights have an empty one, as nothing is known of their training.
    """
    if record.epochs is None:
        trained_on = ""
    elif record.is_transfer:
        trained_on = record.pretrain_sha256
    else:
        trained_on = str(record.split)
    return trained_on, record.seed, record.split


def most_in_common(runs: Mapping[K, Collection[S]]) -> tuple[list[K], list[S]]:
    """Keys whose runs overlap, and the sorted runs that all of them have.

    Keys are added from the one with the most runs on, as long as a common run is left.
    """
    kept: list[K] = []
    common: set[S] = set()
    for key, own in sorted(runs.items(), key=lambda item: -len(item[1])):
        left = common.intersection(own) if kept else set(own)
        if left:
            kept.append(key)
            common = left
    return kept, sorted(common)


def by_method(records: Iterable[R]) -> dict[tuple[str, str], list[R]]:
    """Records by `method_key`, sorted by it, those of the user's own runs before shipped ones."""
    rows: dict[tuple[str, str], list[R]] = {}
    for record in records:
        rows.setdefault(method_key(record), []).append(record)
    return dict(sorted(rows.items(), key=lambda row: (isinstance(row[1][0], ShippedRecord), row[0])))


def one_record_per_run(records: Iterable[R]) -> list[R]:
    """One record per run, for fields that are equal in all records of a run."""
    return list({run_and_method(record): record for record in records}.values())


def run_and_method(record: Record) -> tuple[str, tuple[str, str]]:
    """Distinguishes runs; a submission has the id of the shipped run with the same configuration."""
    return record.run_id, method_key(record)


def run_ids(records: Iterable[Record]) -> tuple[str, ...]:
    """Distinct run ids, in order."""
    return tuple(dict.fromkeys(record.run_id for record in records))


def short_hash(key: str) -> str:
    """Six hexadecimal digits of the key's SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:6]


def table_name(record: Record, key: str, *parts: str) -> str:
    """Name of a table or figure: dataset, variant, mark, preset, `parts` and a hash of `key`, as `safe_name`."""
    variant = record.variant.replace("=", "")  # `ir=50`
    names = [record.dataset, variant, record.mark, record.preset, *parts, short_hash(key)]
    return safe_name("-".join(name for name in names if name))


def safe_name(text: str) -> str:
    """`text` in letters, digits and `.+-`."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text)
