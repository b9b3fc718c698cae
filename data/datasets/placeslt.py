"""Places-LT: the 365 classes of Places365, 4980 to 5 images per class (Liu et al. 2019); lists of JianhongBai/COLT."""

from typing import ClassVar

from data.benchmark import Profile, register
from data.datasets.imagenetlt import GH
from data.datasets.listed import ListedBenchmark, ListFile
from data.pools.pool import ORDER

COLT = "https://raw.githubusercontent.com/JianhongBai/COLT/506327a8da00024959c22fc1ea2555f560222768/split"


@register("placeslt")
class PlacesLT(ListedBenchmark):
    """The full-shot and 100-shot lists have no published checksum. There is no balanced and no few-shot list."""

    title = "Places-LT"
    paper = "Zhou et al. 2017; Liu et al., CVPR 2019, arXiv:1904.05160; lists of Bai et al., ICLR 2023, arXiv:2306.04934"
    labelled_images = 1_847_260  # assumes that the full-shot list has all 1,803,460 training images
    classes = 365
    groups = "number"
    pools = ("places69", *ORDER)
    profiles: ClassVar = {"colt": Profile((), splits=1, about="Liu et al. 2019: 4980 to 5 images per class", official=1)}
    images_folder = "places365"
    images_description = "`train/CLASS/*.jpg` and `val/CLASS/*.jpg` of the archive places365standard_easyformat, at 256 px"
    lists_folder = "lists/placeslt"
    lists_source = "Places365 by the lists of JianhongBai/COLT"
    files: ClassVar = {
        "pretrain": ListFile(
            "Places_LT_train.txt",
            f"{COLT}/places365/Places_LT_train.txt",
            "sha256:726c4871dcbf07ce2f857703bfe32e9a83ffbf52d704239f6d95c4f4f4c247f7",
            images=62_500,
            smallest=5,
            largest=4980,
        ),
        "train": ListFile("Places_train.txt", f"{COLT}/places365/Places_train.txt"),
        "val": ListFile(
            "Places_LT_val.txt",
            f"{COLT}/places365/Places_LT_val.txt",
            "sha256:719e3cf3766c09134ea28f56f1036c78def511ac1ed2c2532a6beef78f2439ba",
            images=7300,
            smallest=20,
            largest=20,
        ),
        "shot100": ListFile(
            "Places_split1_test_100shot.txt",
            f"{GH}/Places_LT/Places_split1_test_100shot.txt",
            images=36_500,
            smallest=100,
            largest=100,
        ),
        "test": ListFile(
            "Places_LT_test.txt",
            f"{COLT}/places365/Places_LT_test.txt",
            "sha256:44eee8441c8098c59195465abede425721bc35525d75209f9433b161a6eb37bc",
            images=36_500,
            smallest=100,
            largest=100,
        ),
    }
