"""FolderLT: a user-defined benchmark of image files and index files in the ImageNet-LT format."""

from typing import ClassVar

from data.benchmark import BALANCED, Profile, register
from data.datasets.listed import ListedBenchmark, ListFile


@register("folderlt")
class FolderLT(ListedBenchmark):
    """The number of classes follows from the lists; groups are thirds, as a small set may have no class over 100 images."""

    title = "FolderLT"
    paper = "the user's own lists"
    labelled_images = 0  # unknown before the lists are read
    classes = None
    suite = False
    profiles: ClassVar = {
        "own": Profile((), splits=1, about="the long-tailed list of the user", official=0),
        BALANCED: Profile((), splits=1, about="the balanced list of the user", official=0),
    }
    images_folder = "folderlt"
    images_description = "your images, at the paths in the index files"
    lists_folder = "folderlt"
    lists_source = "the user's own lists"
    completes_lists = True
    files: ClassVar = {
        "pretrain": ListFile("lt_train.txt"),
        "train": ListFile("balanced_train.txt"),  # labelled; optional: the labels of the long-tailed list are used
        "val": ListFile("val.txt"),  # optional: held out of the labelled list
        "fewshot": ListFile("fewshot_train.txt"),
        "balanced": ListFile("balanced_twin.txt"),  # same size as the long-tailed list, for profile `balanced`
        "test": ListFile("test.txt"),
    }
