"""Webdataset shards: tar files whose members of one key are a sample, with an image and its label.

As in the libraries webdataset and timm: the key of a member is its path up to the first dot of the file name, and the rest, in
any case, its extension. Hidden members, those without an extension and those in a folder like `__meta__` belong to no sample.
The label is the text of `cls`, an integer or the name of a class; without `cls` it is `label` in `json`. Other members are not
used, nor are samples with neither image nor `cls`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from core.errors import UserError
from core.schema import InvalidData, decode
from core.words import listed
from data.tar_members import members, read_bytes

SHARD = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")
FAULTS = {  # of samples, with what to do about them
    "have no image": "write it as KEY.jpg, where KEY has no dot, or remove their labels",
    "have several images": "keep one; the key of a sample ends at the first dot of the file name",
    "have no label": "add KEY.cls, or KEY.json with the field label",
    "have several labels": "keep one",
    "have a label that cannot be read": "correct it",
}
_MEMBER = re.compile(r"(?!__[^/]*__/)(?P<key>(?:.*/)?[^./]+)\.(?P<extension>[^/]+)", re.DOTALL)


class Sample(NamedTuple):
    """An image of a shard."""

    shard: str  # path relative to the folder
    name: str  # likewise, through the shard
    label: str
    size: int  # of the encoded image, in bytes


class _Json(TypedDict):
    """The member `json` of a sample, as far as it is read."""

    label: NotRequired[str | int]


def read_shards(folder: Path, shards: Iterable[str], suffixes: Sequence[str]) -> list[Sample]:
    """Reads the samples of shards, whose paths are relative to `folder`; of images only the place and the size.

    Args:
        folder: of the shards.
        shards: uncompressed tar files.
        suffixes: of images, in lower case.

    Raises:
        UserError: a shard cannot be read or is damaged, or samples have faults; all with the same fault are counted.
    """
    samples = []
    faults: dict[str, list[str]] = defaultdict(list)
    for shard in shards:
        places = members(f"{folder}/{shard}")
        for key, fields in _by_key(places).items():
            images = [name for name, extension in fields if f".{extension}" in suffixes]
            classes = [name for name, extension in fields if extension == "cls"]
            labels = classes or [name for name, extension in fields if extension == "json"]
            if len(images) != 1:
                if images:
                    faults["have several images"].append(f"{shard}/{key}")
                elif classes or any(f".{extension}".endswith(tuple(suffixes)) for _, extension in fields):
                    faults["have no image"].append(f"{shard}/{key}")
                continue
            if len(labels) > 1:
                faults["have several labels"].append(f"{shard}/{key}")
                continue
            try:
                label = _read_label(f"{folder}/{shard}/{labels[0]}") if labels else ""
            except InvalidData as error:
                faults["have a label that cannot be read"].append(f"{shard}/{labels[0]} ({error})")
                continue
            if label:
                samples.append(Sample(shard, f"{shard}/{images[0]}", label, places[images[0]].size))
            else:
                faults["have no label"].append(f"{shard}/{key}")
    for fault, advice in FAULTS.items():
        if named := faults[fault]:
            raise UserError(f"{len(named):,} samples in {folder} {fault}: {listed(named)}; {advice}")
    return samples


def _by_key(names: Iterable[str]) -> Mapping[str, list[tuple[str, str]]]:
    """Name and extension of the members of each sample."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in names:
        if member := _MEMBER.fullmatch(name):
            found[member["key"]].append((name, member["extension"].lower()))
    return found


def _read_label(path: str) -> str:
    """Label in a `cls` or `json` member; empty if it has none. Raises InvalidData for other content than a text of one line."""
    content = read_bytes(path)
    try:
        label = content.decode() if not path.lower().endswith(".json") else str(decode(content, _Json).get("label", ""))
    except UnicodeDecodeError as error:
        raise InvalidData("it is not UTF-8") from error
    label = label.strip()
    if len(label.splitlines()) > 1:
        raise InvalidData("it has several lines")
    return label
