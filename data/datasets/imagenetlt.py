"""ImageNet-LT: 1000 classes, 1280 to 5 images per class (Liu et al. 2019); lists of VITA-Group/SDCLR."""

from typing import ClassVar

from data.benchmark import Profile, register
from data.datasets.imagenet100lt import IMAGENET, SDCLR
from data.datasets.listed import ListedBenchmark, ListFile
from data.pools.pool import ORDER

GH = "https://raw.githubusercontent.com/MediaBrain-SJTU/Geometric-Harmonization/9f7057ce38438c53a8b4bff92b02e0cbb5f09e62/split"


@register("imagenetlt")
class ImageNetLT(ListedBenchmark):
    """The pretraining, full-shot and 100-shot lists have no published checksum. There is no balanced list."""

    title = "ImageNet-LT"
    paper = "Liu et al., CVPR 2019, arXiv:1904.05160; lists of Jiang et al., ICML 2021, arXiv:2106.02990"
    labelled_images = 1_351_167  # assumes that the full-shot list has all of ImageNet
    classes = 1000
    groups = "number"
    pools = ("imagenet-r", *ORDER)
    profiles: ClassVar = {
        "sdclr": Profile((), splits=1, about="Liu et al. 2019: 1280 to 5 images per class, Pareto", official=1)
    }
    images_folder = "imagenet"
    images_description = IMAGENET
    lists_folder = "lists/imagenetlt"
    lists_source = "ImageNet by the lists of VITA-Group/SDCLR"
    files: ClassVar = {
        "pretrain": ListFile(
            "ImageNet_LT_train.txt",
            f"{SDCLR}/ImageNet_LT/ImageNet_LT_train.txt",
            images=115_846,
            smallest=5,
            largest=1280,
        ),
        "train": ListFile("ImageNet_train.txt", f"{SDCLR}/ImageNet_LT/ImageNet_train.txt"),
        "val": ListFile(
            "ImageNet_LT_val.txt",
            f"{SDCLR}/ImageNet_LT/ImageNet_LT_val.txt",
            "sha256:9af7ba688acf9532ff5845a8fb14a1e97fdc4c51ac48bc72c08ea9c3f7ff142e",
            images=20_000,
            smallest=20,
            largest=20,
        ),
        "fewshot": ListFile(
            "imageNet_sub_balance_train_0.01.txt",
            f"{SDCLR}/ImageNet_LT/imageNet_sub_balance_train_0.01.txt",
            "sha256:bbda6ce75d35db9290b56f3c78149a059e454bdd5d2859c3945f6c7e847edca1",
            images=12_000,
            smallest=12,
            largest=12,
        ),
        "shot100": ListFile(
            "ImageNet_split1_test_100shot.txt",
            f"{GH}/ImageNet_LT/ImageNet_split1_test_100shot.txt",
            images=100_000,
            smallest=100,
            largest=100,
        ),
        "test": ListFile(
            "ImageNet_LT_test.txt",
            f"{SDCLR}/ImageNet_LT/ImageNet_LT_test.txt",
            "sha256:d1590191cf8a71fada7b1aaedaa2d139a2aea93ff2f1b755319d0bd8dbaa55d5",
            images=50_000,
            smallest=50,
            largest=50,
        ),
    }
