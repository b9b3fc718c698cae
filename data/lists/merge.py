"""The lists of a benchmark by files, together: what must hold between them, and the one table of images they point into."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from core.errors import UserError
from data.lists.holdout import NONE, ListedLists
from data.lists.index_file import Listing, check_classes, check_listing, index, printable, some
from data.lists.longtail import Indices

Role = Literal["pretrain", "train", "val", "fewshot", "shot100", "balanced", "test"]
TRAINING: tuple[Role, ...] = ("pretrain", "train", "val", "fewshot", "shot100", "balanced")  # the order of the table


def class_count(found: Mapping[Role, Listing], declared: int | None) -> int:
    """How many classes there are: as declared, or as many as the pretraining list has.

    Raises:
        UserError: too few for many, medium and few; a list has a label beyond them; or a list that must have images of every
            class has not.
    """
    classes = declared or int(found["pretrain"].labels.max()) + 1
    if declared is None:
        if classes < 3:
            raise UserError(f"{found['pretrain'].file} has {classes} classes; many, medium and few need three or more")
        for listing in found.values():
            check_listing(listing, classes)
    for role in ("pretrain", "balanced", "test"):
        if role in found:
            check_classes(found[role], classes)
    return classes


def joined(found: Mapping[Role, Listing]) -> tuple[list[str], Indices, ListedLists]:
    """One table of the distinct training images.

    Returns:
        Their paths, their labels, and the lists as positions among them; empty where there is none.

    Raises:
        UserError: an image has two labels, or is tested and learned.
    """
    roles = [role for role in TRAINING if role in found]
    names, labels, positions = index([found[role] for role in roles])
    index([*(found[role] for role in roles), found["test"]])  # that the test list agrees on labels
    tested = set(found["test"].names)
    for role in roles:
        if both := [name for name in found[role].names if name in tested]:
            raise UserError(
                f"{found[role].file} and {found['test'].file} share {len(both):,} images, {some(both)}: what is tested "
                "must not be learned; correct one of them"
            )
    return names, labels, ListedLists(**(dict.fromkeys(TRAINING, NONE) | dict(zip(roles, positions, strict=True))))


def class_folders(listing: Listing, classes: int) -> tuple[str, ...]:
    """The folder of each class's first image, or the class's number where images lie in no folder."""
    _, first = np.unique(listing.labels, return_index=True)
    folders = [listing.names[i].rpartition("/")[0].rpartition("/")[2] for i in first.tolist()]
    return tuple(printable(folder or str(c)) for c, folder in zip(range(classes), folders, strict=True))
