"""A benchmark's passport: which images, cut how. Numbers are comparable where at most the splits of theirs differ."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np

from data.benchmark import Benchmark, Source
from data.lists.longtail import IndexLists, Indices, by_number, by_thirds, fingerprint

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
    lists: Mapping[str, tuple[int, str]]  # length and `fingerprint` of every index list, by its name in IndexLists

    @property
    def short(self) -> str:
        """Twelve hexadecimal digits of the hash of what decides the data; wording is no part of it."""
        used = {name: facts for name, facts in self.lists.items() if name != "balanced"}  # no number depends on the twin
        identity = [self.benchmark, self.profile, self.split, self.source.digest, self.counts, used]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:DIGITS]

    @property
    def line(self) -> str:
        """What all splits of the profile share, in one line: the identity of a table's data."""
        largest, smallest = max(self.counts), min(self.counts)
        return (
            f"{self.benchmark} (profile {self.profile}): {sum(self.counts)} images, {largest} to {smallest} of a class, ratio "
            f"{largest / smallest:.4g}; {self.source.name}, {self.source.short}"
        )

    def text(self) -> str:
        """The whole passport, a line a fact."""
        largest, smallest = max(self.counts), min(self.counts)
        facts = {
            "source": self.source.name,
            "checksum": self.source.checksum,
            "profile": f"{self.profile}: {self.about}",
            "split": f"{self.split}, {'official' if self.official else 'of this suite'}",
            "classes": f"{len(self.counts)}; images of each, by class number: {' '.join(map(str, self.counts))}",
            "ratio": f"{largest / smallest:.4g}, {largest} to {smallest} images a class",
            "thirds": _groups(by_thirds(self.counts), ("largest third", "middle third", "smallest third")),
            "by number": _groups(by_number(self.counts), ("more than 100 images", "20 to 100", "fewer than 20")),
            **{name: f"{length} images, sha256 {digest}" for name, (length, digest) in self.lists.items()},
        }
        lines = [f"PASSPORT {self.short}: {self.benchmark}, profile {self.profile}, split {self.split}"]
        for name, fact in facts.items():
            lines.append(fill(fact, WIDTH, initial_indent=f"  {name:10}", subsequent_indent=" " * 12))
        return "\n".join(lines)


def passport_of(benchmark: Benchmark, profile: str, split: int, labels: Indices, lists: IndexLists, source: Source) -> Passport:
    """The passport of lists that were made from `labels` of the images of `source`."""
    declared = benchmark.profiles[profile]
    counts = np.bincount(labels[lists.pretrain], minlength=len(benchmark.class_names))
    return Passport(
        benchmark=benchmark.name,
        profile=profile,
        about=declared.about,
        split=split,
        official=split <= declared.official,
        source=source,
        counts=tuple(counts.tolist()),
        lists={name: (len(indices), fingerprint(indices)) for name, indices in vars(lists).items()},
    )


def read_passports(benchmark: Benchmark, profile: str, splits: Sequence[int], data_root: Path) -> list[Passport]:
    """Passports of some splits from the data that is there; nothing is fetched. Raises UserError where the labels are not."""
    labels, source = benchmark.labels(data_root)
    return [passport_of(benchmark, profile, split, labels, benchmark.lists(labels, profile, split), source) for split in splits]


def _groups(groups: Sequence[np.ndarray], meanings: tuple[str, str, str]) -> str:
    names = zip(("many", "medium", "few"), meanings, map(len, groups), strict=True)
    return "classes in " + "; ".join(f"{name} ({meaning}): {size or 'EMPTY'}" for name, meaning, size in names)
