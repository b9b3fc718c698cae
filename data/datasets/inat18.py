"""iNaturalist-2018: 8,142 species with a natural long-tailed distribution; annotation files of the competition.

There is no balanced training list, and the validation list is the test set by convention: probes are trained on the long-tailed
labels minus a holdout validation list (`data/lists/holdout.py`). The reference papers do not train on it; the recipe is that of
ImageNet-LT.
"""

from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from core.errors import UserError
from core.schema import InvalidData, decode
from core.words import counted
from data.benchmark import Profile, register
from data.datasets.listed import ListedBenchmark, ListFile
from data.lists.index_file import IndexFile, read_bytes
from data.sources.fetch import download

ADDRESS = "https://ml-inat-competition-datasets.s3.amazonaws.com/2018"


class _Image(msgspec.Struct):
    id: int
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]


class _Category(msgspec.Struct):
    id: int


class _Annotations(msgspec.Struct):
    """The fields of an annotation file that are read."""

    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@register("inat18")
class INaturalist2018(ListedBenchmark):
    """MD5s of the archives are from visipedia/inat_comp; existing annotation files are checked by structure."""

    title = "iNaturalist-2018"
    paper = "Van Horn et al., CVPR 2018, arXiv:1707.06642; visipedia/inat_comp, 2018"
    labelled_images = 461_939
    classes = 8142
    groups = "number"
    profiles: ClassVar = {"official": Profile((), splits=1, about="all training images of the competition", official=1)}
    images_folder = "inat18"
    images_description = "the folder `train_val2018` of the competition's archive"
    lists_folder = "inat18"
    lists_source = "iNaturalist-2018 by its annotation files"
    completes_lists = True
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
        download(what, declared.url, file, declared.checksum, member=declared.name, otherwise="put the file there")

    def _parse(self, file: Path, declared: ListFile) -> IndexFile:
        return read_annotations(file)


def read_annotations(file: Path) -> IndexFile:
    """Parses an annotation file in COCO format: `images`, `annotations` and `categories`.

    Raises:
        UserError: the file is damaged or malformed, or does not have exactly one annotation per image.
    """
    try:
        content = decode(read_bytes(file), _Annotations)
    except InvalidData as error:
        raise UserError(f"{file} is truncated or not an annotation file ({error}); delete it to download it again") from error
    category = {entry.image_id: entry.category_id for entry in content.annotations}
    names = [image.file_name for image in content.images]
    given = [category.get(image.id, -1) for image in content.images]
    count = len(content.annotations)
    if -1 in given or count != len(given):
        raise UserError(
            f"{file} has {counted(count, 'annotation')} for {counted(len(given), 'image')}, but needs one per image; restore it"
        )
    known = {entry.id for entry in content.categories}
    i = next((i for i, label in enumerate(given) if label not in known), None)
    if i is not None:
        raise UserError(f"{file}, image {i + 1}: the category {given[i]!r} is not in its categories; restore it")
    wrong = next((name for name in names if not name.isprintable()), None)
    if wrong is not None:
        raise UserError(f"{file} has the file name {wrong!r}, which is invalid; restore it")
    return IndexFile(names, np.array(given, dtype=np.int64), file, unit="image")
