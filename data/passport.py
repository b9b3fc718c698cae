"""Data passport: identity of the images and index lists of a split. Results are comparable if only the split differs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from core.schema import InvalidData, convert
from data.benchmark import Benchmark, Source
from data.lists.longtail import IndexLists, Indices, by_number, by_thirds
from data.variants import variant_of

FORMAT = 1  # of `passport.json`
DIGITS = 12  # of a short hash
WIDTH = 128  # characters per line of `text`


@dataclass(frozen=True)
class Passport:
    """One split of one profile of one benchmark."""

    benchmark: str
    profile: str
    about: str  # of the profile
    split: int
    official: bool  # whether the split is published, or defined by this suite
    source: Source
    counts: tuple[int, ...]  # class counts of the pretraining set
    lists: Mapping[str, tuple[int, str]]  # length and SHA-256 of every index list, see `Benchmark.checksums`
    group_counts: tuple[int, ...] = ()  # class counts that define the groups; empty: `counts`
    class_names: tuple[str, ...] = ()  # in the order of the labels; not part of the identity, and empty in earlier versions

    @property
    def short(self) -> str:
        """Twelve hexadecimal digits of the hash of the data; descriptive texts are not hashed."""
        used = {name: facts for name, facts in self.lists.items() if name != "balanced"}  # no result depends on it
        identity = [self.benchmark, self.profile, self.split, self.source.digest, self.counts, used]
        return _hash([*identity, self.group_counts] if self.group_counts else identity)

    @property
    def pretraining(self) -> str:
        """Twelve digits of the hash of the data used in pretraining; independent of the lists of the probes."""
        return _hash([self.benchmark, self.profile, self.split, self.source.digest, self.lists["pretrain"]])

    @property
    def counts_for_groups(self) -> tuple[int, ...]:
        """Class counts that define the groups: for a balanced set, those of the long-tailed set."""
        return self.group_counts or self.counts

    @property
    def line(self) -> str:
        """One line common to all splits of a profile; identifies the data of a table."""
        largest, smallest = max(self.counts), min(self.counts)
        of_a_class = f"{largest} to {smallest} of a class" if largest > smallest else f"{largest} of every class"
        sums = self.source.short
        if "test" in self.lists:  # image files have no pixel checksum: hash the index lists
            sums = f"pretraining and test list {_hash([self.lists['pretrain'], self.lists['test']])}"
        return (
            f"{self.benchmark} (profile {self.profile}): {sum(self.counts)} images, {of_a_class}, ratio "
            f"{largest / smallest:.4g}; {self.source.name}, {sums}"
        )

    def same_training_data(self, other: "Passport") -> bool:
        """Whether pretraining uses the same data under both passports."""
        return self.pretraining == other.pretraining

    def changed_lists(self, other: "Passport") -> list[str]:
        """Names of lists of this passport that differ or are missing in `other`; additional lists of `other` are ignored."""
        return [name for name, known in self.lists.items() if name != "balanced" and other.lists.get(name) != known]

    def to_json(self) -> dict[str, Any]:
        """Content of `passport.json`: all fields and both hashes."""
        return {"format": FORMAT, "passport": self.short, "pretraining": self.pretraining, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Passport":
        """Reads `to_json` back. Raises InvalidData if a field is missing or of a wrong type, or the hashes do not fit."""
        passport = convert(content, cls)
        found = [content.get(name) for name in ("format", "passport", "pretraining")]
        if "pretrain" not in passport.lists or found != [FORMAT, passport.short, passport.pretraining]:
            raise InvalidData("format or hashes do not fit the fields")
        return passport

    def text(self) -> str:
        """The whole passport for display, one fact per line."""
        largest, smallest = max(self.counts), min(self.counts)
        decisive = self.counts_for_groups
        facts = {
            "source": self.source.name,
            "folder": self.source.place,
            "checksum": self.source.checksum,
            "variant": f"{variant_of(self.benchmark, self.profile)}: {self.about}",
            "split": f"{self.split}, {'official' if self.official else 'defined by this suite'}",
            "classes": f"{len(self.counts)}; class counts: {' '.join(map(str, self.counts))}",
            "ratio": f"{largest / smallest:.4g}, {largest} to {smallest} images per class",
            "groups": f"class counts of the long-tailed set: {' '.join(map(str, decisive))}",
            "thirds": _groups(by_thirds(decisive), ("largest third", "middle third", "smallest third")),
            "by number": _groups(by_number(decisive), ("more than 100 images", "20 to 100", "fewer than 20")),
            **{name: f"{length} images, sha256 {digest}" for name, (length, digest) in self.lists.items()},
            "missing": self.source.lacks,
            "training": f"{self.pretraining}, hash of the pretraining data",
        }
        if not self.group_counts:
            del facts["groups"]
        variant = variant_of(self.benchmark, self.profile)
        lines = [f"PASSPORT {self.short}: {self.benchmark}, variant {variant}, split {self.split}"]
        for name, fact in facts.items():
            if fact:
                lines.append(fill(fact, WIDTH, initial_indent=f"  {name:10}", subsequent_indent=" " * 12))
        return "\n".join(lines)


def passport_of(benchmark: Benchmark, profile: str, split: int, labels: Indices, lists: IndexLists, source: Source) -> Passport:
    """Creates the passport of index lists over images with `labels` from `source`."""
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
        lists=benchmark.checksums(lists),
        class_names=tuple(benchmark.class_names),
        group_counts=() if np.array_equal(group_counts, counts) else tuple(group_counts.tolist()),
    )


def read_passports(benchmark: Benchmark, profile: str, splits: Sequence[int], data_root: Path) -> list[Passport]:
    """Returns passports of several splits without downloading. Raises UserError if the labels are missing or damaged."""
    labels, source = benchmark.labels(data_root)
    return [passport_of(benchmark, profile, split, labels, benchmark.lists(labels, profile, split), source) for split in splits]


def _hash(identity: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _groups(groups: Sequence[np.ndarray], meanings: tuple[str, str, str]) -> str:
    names = zip(("many", "medium", "few"), meanings, map(len, groups), strict=True)
    return "classes in " + "; ".join(f"{name} ({meaning}): {size or 'EMPTY'}" for name, meaning, size in names)
