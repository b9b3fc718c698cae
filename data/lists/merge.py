"""Merges the index files of a benchmark into one table of training images, with consistency checks across files."""

import logging
from collections.abc import Mapping
from typing import Literal

import numpy as np

from core.errors import UserError
from core.words import counted, listed, printable
from data.lists.holdout import EMPTY, FileIndexLists
from data.lists.index_file import IndexFile, check_classes, check_index_file, classes_without_images, merge_index_files
from data.lists.longtail import Indices

log = logging.getLogger(__name__)

Role = Literal["pretrain", "train", "val", "fewshot", "shot100", "balanced", "test"]
TRAINING: tuple[Role, ...] = ("pretrain", "train", "val", "fewshot", "shot100", "balanced")  # order of the image table


def class_count(found: Mapping[Role, IndexFile], declared: int | None) -> int:
    """Returns the number of classes: as declared, or found in the pretraining list.

    Raises:
        UserError: fewer than three classes, a label out of range, a class without images in a list that needs all classes, or a
            validation list of one class.
    """
    classes = declared or int(found["pretrain"].labels.max()) + 1
    if declared is None:
        if classes < 3:
            raise UserError(
                f"{found['pretrain'].file} has {counted(classes, 'class')}; the groups many, medium and few need at least 3"
            )
        for index_file in found.values():
            check_index_file(index_file, classes)
    for role, index_file in found.items():
        if role in ("fewshot", "shot100"):
            if lacking := classes_without_images(index_file, classes):
                log.warning("%s: its probes never predict these classes", lacking)
        elif role != "val":
            check_classes(index_file, classes)
    if "val" in found and len(only := np.unique(found["val"].labels)) == 1:
        raise UserError(f"{found['val'].file} has images of class {only[0]} only; add images of the other classes")
    return classes


def merge_lists(found: Mapping[Role, IndexFile]) -> tuple[list[str], Indices, FileIndexLists]:
    """Merges all lists into one table of distinct training images.

    Returns:
        Paths, labels, and the lists as indices into them; a missing list is empty.

    Raises:
        UserError: an image has two labels, or is both a training and a test image.
    """
    roles = [role for role in TRAINING if role in found]
    names, labels, positions = merge_index_files([found[role] for role in roles])
    merge_index_files([*(found[role] for role in roles), found["test"]])  # checks the labels of the test list
    tested = set(found["test"].names)
    for role in roles:
        if both := [name for name in found[role].names if name in tested]:
            raise UserError(
                f"{found[role].file} and {found['test'].file} share {counted(len(both), 'image')}, {listed(both)}: test "
                "images must not be training images; correct one of them"
            )
    return names, labels, FileIndexLists(**(dict.fromkeys(TRAINING, EMPTY) | dict(zip(roles, positions, strict=True))))


def class_folders(index_file: IndexFile, classes: int) -> tuple[str, ...]:
    """Class names: the folder of each class's first image, or the label if it is in no folder, or in a tar archive itself."""
    _, first = np.unique(index_file.labels, return_index=True)
    folders = [index_file.names[i].rpartition("/")[0].rpartition("/")[2] for i in first.tolist()]
    names = ["" if folder.endswith(".tar") else folder for folder in folders]
    return tuple(printable(name or str(c)) for c, name in zip(range(classes), names, strict=True))
