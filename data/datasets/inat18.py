"""iNaturalist-2018: 8,142 species, long-tailed by nature, by the competition's annotation files.

There is neither a balanced training list nor a validation list apart from the one that the field tests on: probes learn from
the long-tailed labels, less a validation part that this suite holds out (`data/lists/holdout.py`). None of the papers followed
here trains on it: the recipe is ImageNet-LT's.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from core.errors import UserError, first_line
from data.benchmark import Profile, register
from data.datasets.listed import ListedBenchmark, ListFile
from data.lists.index_file import Listing, read_bytes
from data.sources.fetch import download

MOST = 2**31  # categories have smaller numbers
ADDRESS = "https://ml-inat-competition-datasets.s3.amazonaws.com/2018"


@register("inat18")
class INaturalist2018(ListedBenchmark):
    """MD5s are of the archives as visipedia/inat_comp states them; a file that is there already is checked by its structure."""

    title = "iNaturalist-2018"
    paper = "Van Horn et al., CVPR 2018, arXiv:1707.06642; visipedia/inat_comp, 2018"
    labelled_images = 461_939
    classes = 8142
    groups = "number"
    profiles: ClassVar = {"official": Profile((), splits=1, about="the competition's training images, all of them", official=1)}
    images_folder = "inat18"
    images_from = "the folder `train_val2018` of the competition's archive"
    lists_folder = "inat18"
    lists_from = "iNaturalist-2018 by its annotation files"
    own_lists = True
    files: ClassVar = {
        "pretrain": ListFile(
            "train2018.json", f"{ADDRESS}/train2018.json.tar.gz", "md5:bfa29d89d629cbf04d826a720c0a68b0", images=437_513
        ),
        "test": ListFile(
            "val2018.json", f"{ADDRESS}/val2018.json.tar.gz", "md5:f2ed8bfe3e9901cdefceb4e53cd3775d", images=24_426
        ),
    }

    def _fetch(self, declared: ListFile, file: Path) -> None:
        assert declared.url is not None
        what = f"the annotation file {declared.name} of {self.title}"
        download(what, declared.url, file, declared.known, member=declared.name, otherwise="put the file there")

    def _parse(self, file: Path, declared: ListFile) -> Listing:
        return read_annotations(file)


def read_annotations(file: Path) -> Listing:
    """Reads an annotation file in COCO's form: `images`, `annotations` with the category of each, and `categories`.

    Raises:
        UserError: it is not whole, not of the form, or has not exactly one annotation for each image.
    """
    try:
        content: dict[str, Any] = json.loads(read_bytes(file))
        category = {entry["image_id"]: entry["category_id"] for entry in content["annotations"]}
        names = [entry["file_name"] for entry in content["images"]]
        given = [category.get(entry["id"]) for entry in content["images"]]
        known = {entry["id"] for entry in content["categories"]}
        count = len(content["annotations"])
    except (ValueError, KeyError, TypeError) as error:
        why = f"lacks {error}" if isinstance(error, KeyError) else first_line(error)
        raise UserError(f"{file} is truncated or no annotation file ({why}); delete it to fetch it again") from error
    if None in given or count != len(given):
        raise UserError(f"{file} has {count:,} annotations for {len(given):,} images, and needs one for each; restore it")
    i = next((i for i, label in enumerate(given) if type(label) is not int or label not in known), None)
    if i is not None:
        raise UserError(f"{file}, image {i + 1}: the category {given[i]!r} is none of its categories; restore it")
    wrong = next((name for name in names if not isinstance(name, str) or not name.isprintable()), None)
    outside = next((label for label in given if label is not None and not 0 <= label < MOST), None)
    if wrong is not None or outside is not None:
        what = f"the category {outside}" if wrong is None else f"the file name {wrong!r}"
        raise UserError(f"{file} has {what}, which cannot be; restore it")
    return Listing(names, np.array(given, dtype=np.int64), file, unit="image")
