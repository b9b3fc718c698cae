"""A benchmark of the user's own: photographs in a folder, and lists of them in the form of ImageNet-LT's."""

from typing import ClassVar

from data.benchmark import BALANCED, Profile, register
from data.datasets.listed import ListedBenchmark, ListFile


@register("folderlt")
class FolderLT(ListedBenchmark):
    """As many classes as the long-tailed list has; groups are thirds of them, as a small set may have no class over 100."""

    title = "FolderLT"
    paper = "the user's own lists"
    labelled_images = 0  # not known before the lists are read
    classes = None
    suite = False
    profiles: ClassVar = {
        "own": Profile((), splits=1, about="the long-tailed list as it stands in the folder", official=0),
        BALANCED: Profile((), splits=1, about="its balanced twin as it stands in the folder", official=0),
    }
    images_folder = "folderlt"
    images_from = "your pictures, where the lists beside them say"
    lists_folder = "folderlt"
    lists_from = "the user's own lists"
    own_lists = True
    files: ClassVar = {
        "pretrain": ListFile("lt_train.txt"),
        "train": ListFile("balanced_train.txt"),  # labelled; without it: the labels of the long-tailed list
        "val": ListFile("val.txt"),  # without it: held out of the labelled list
        "fewshot": ListFile("fewshot_train.txt"),
        "balanced": ListFile("balanced_twin.txt"),  # as long as the long-tailed list, for the profile of that name
        "test": ListFile("test.txt"),
    }
