"""A benchmark's passport: which images, cut how. Numbers are comparable where at most the splits of theirs differ."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from data.benchmark import Benchmark, Source
from data.lists.longtail import IndexLists, Indices, by_number, by_thirds

FORMAT = 1  # of `passport.json`
DIGITS = 12  # of a hash in its short form
WIDTH = 128  # of the full text


@dataclass(frozen=True)
class Passport:
    """One split of one profile of one benchmark."""

    benchmark: str
    profile: str
    about: str  # of the profile
    split: int
    official: bool  # whether the split is the profile's source's, or this suite's
    source: Source
    counts: tuple[int, ...]  # images of each class in the pretraining list, in the order of the classes
    lists: Mapping[str, tuple[int, str]]  # length and SHA-256 of every index list, as `Benchmark.sums` gives them
    group_counts: tuple[int, ...] = ()  # those that decide the groups, where they are not `counts`

    @property
    def short(self) -> str:
        """Twelve hexadecimal digits of the hash of what decides the data; wording is no part of it."""
        used = {name: facts for name, facts in self.lists.items() if name != "balanced"}  # no number depends on the twin
        identity = [self.benchmark, self.profile, self.split, self.source.digest, self.counts, used]
        return _hash([*identity, self.group_counts] if self.group_counts else identity)

    @property
    def pretraining(self) -> str:
        """Twelve digits of the hash of what training depends on, whatever lists the probes have."""
        return _hash([self.benchmark, self.profile, self.split, self.source.digest, self.lists["pretrain"]])

    @property
    def deciding(self) -> tuple[int, ...]:
        """Images of each class that decide the groups: of a balanced twin, those of the long-tailed set."""
        return self.group_counts or self.counts

    @property
    def line(self) -> str:
        """What all splits of the profile share, in one line: the identity of a table's data."""
        largest, smallest = max(self.counts), min(self.counts)
        of_a_class = f"{largest} to {smallest} of a class" if largest > smallest else f"{largest} of every class"
        sums = self.source.short
        if "test" in self.lists:  # files whose pixels have no sum: the lists that name them stand for them
            sums = f"pretraining and test list {_hash([self.lists['pretrain'], self.lists['test']])}"
        return (
            f"{self.benchmark} (profile {self.profile}): {sum(self.counts)} images, {of_a_class}, ratio "
            f"{largest / smallest:.4g}; {self.source.name}, {sums}"
        )

    def trains_as(self, other: "Passport") -> bool:
        """Whether training on this data and on the other's is the same training."""
        return self.pretraining == other.pretraining

    def changed_lists(self, other: "Passport") -> list[str]:
        """Names of this passport's lists that the other has differently or not at all; lists that only it has do not count."""
        return [name for name, known in self.lists.items() if name != "balanced" and other.lists.get(name) != known]

    def to_json(self) -> dict[str, Any]:
        """The content of `passport.json`: every field, and the two hashes for readers."""
        return {"format": FORMAT, "passport": self.short, "pretraining": self.pretraining, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Passport":
        """Reads `to_json` back. Raises ValueError where a field is missing or of a wrong type, or the hashes do not fit."""
        try:
            values = {field.name: content[field.name] for field in fields(cls)}
            passport = cls(
                **{
                    **values,
                    "source": Source(**values["source"]),
                    "counts": tuple(values["counts"]),
                    "group_counts": tuple(values["group_counts"]),
                    "lists": {name: (int(images), str(sha256)) for name, (images, sha256) in values["lists"].items()},
                }
            )
            hashes = (content["format"], content["passport"], content["pretraining"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a passport ({error})") from error
        if hashes != (FORMAT, passport.short, passport.pretraining):
            raise ValueError("format or hashes do not fit the fields")
        return passport

    def text(self) -> str:
        """The whole passport for display, one fact per line."""
        largest, smallest = max(self.counts), min(self.counts)
        decisive = self.deciding
        facts = {
            "source": self.source.name,
            "checksum": self.source.checksum,
            "profile": f"{self.profile}: {self.about}",
            "split": f"{self.split}, {'official' if self.official else 'of this suite'}",
            "classes": f"{len(self.counts)}; images of each, by class number: {' '.join(map(str, self.counts))}",
            "ratio": f"{largest / smallest:.4g}, {largest} to {smallest} images a class",
            "groups": f"by the long-tailed set, images of each class: {' '.join(map(str, decisive))}",
            "thirds": _groups(by_thirds(decisive), ("largest third", "middle third", "smallest third")),
            "by number": _groups(by_number(decisive), ("more than 100 images", "20 to 100", "fewer than 20")),
            **{name: f"{length} images, sha256 {digest}" for name, (length, digest) in self.lists.items()},
            "not there": self.source.lacks,
            "training": f"{self.pretraining}, the hash of what training depends on",
        }
        if not self.group_counts:
            del facts["groups"]
        lines = [f"PASSPORT {self.short}: {self.benchmark}, profile {self.profile}, split {self.split}"]
        for name, fact in facts.items():
            if fact:
                lines.append(fill(fact, WIDTH, initial_indent=f"  {name:10}", subsequent_indent=" " * 12))
        return "\n".join(lines)


def passport_of(benchmark: Benchmark, profile: str, split: int, labels: Indices, lists: IndexLists, source: Source) -> Passport:
    """The passport of lists that were made from `labels` of the images of `source`."""
    declared = benchmark.profiles[profile]
    counts = np.bincount(labels[lists.pretrain], minlength=len(benchmark.class_names))
    group_counts = benchmark.group_counts(labels, profile, split)
    return Passport(
        benchmark=benchmark.name,
        profile=profile,
        about=declared.about,
        split=split,
        official=split <= declared.official,
        source=source,
        counts=tuple(counts.tolist()),
        lists=benchmark.sums(lists),
        group_counts=() if np.array_equal(group_counts, counts) else tuple(group_counts.tolist()),
    )


def read_passports(benchmark: Benchmark, profile: str, splits: Sequence[int], data_root: Path) -> list[Passport]:
    """Passports of some splits from the data that is there; nothing is fetched. Raises UserError where the labels are not."""
    labels, source = benchmark.labels(data_root)
    return [passport_of(benchmark, profile, split, labels, benchmark.lists(labels, profile, split), source) for split in splits]


def _hash(identity: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _groups(groups: Sequence[np.ndarray], meanings: tuple[str, str, str]) -> str:
    names = zip(("many", "medium", "few"), meanings, map(len, groups), strict=True)
    return "classes in " + "; ".join(f"{name} ({meaning}): {size or 'EMPTY'}" for name, meaning, size in names)
