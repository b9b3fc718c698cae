"""A benchmark's passport: which images, cut how. Numbers are comparable where at most the splits of theirs differ."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np

from data.benchmark import Benchmark, Source
from data.lists.longtail import IndexLists, Indices, by_number, by_thirds

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

    def text(self) -> str:
        """The whole passport, a line a fact."""
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


@dataclass(frozen=True)
class Identity:
    """What a run keeps of the passport of its data."""

    short: str
    pretraining: str | None  # None in texts of before there was this hash
    lists: Mapping[str, str]  # the lists' sums by their names

    @classmethod
    def read(cls, text: str) -> "Identity":
        """Reads it back from `Passport.text`."""
        short = re.match(r"PASSPORT (\w+):", text)
        pretraining = re.search(r"^  training  (\w+), ", text, re.MULTILINE)
        lists = re.findall(r"^  (\w+) *\d+ images, sha256 (\w+)$", text, re.MULTILINE)
        return cls(short[1] if short else "", pretraining and pretraining[1], dict(lists))

    def trained_on(self, passport: Passport) -> bool:
        """Whether training on the passport's data would be the training that this was kept of."""
        return self.short == passport.short if self.pretraining is None else self.pretraining == passport.pretraining

    def other_lists(self, passport: Passport) -> list[str]:
        """Names of the lists that are not any more what they were; those that have come since are no such."""
        now = {name: digest for name, (_, digest) in passport.lists.items()}
        return [name for name, digest in self.lists.items() if name != "balanced" and now.get(name) != digest]


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
