"""ImageNet-100-LT: 100 classes of ImageNet, 1280 to 6 images per class; lists of VITA-Group/SDCLR."""

from typing import ClassVar

from data.benchmark import BALANCED, Profile, register
from data.datasets.listed import ListedBenchmark, ListFile
from data.pools.pool import ORDER

SDCLR = "https://raw.githubusercontent.com/VITA-Group/SDCLR/f1490fce26e6bb67d2c21b450db5a6e3184e6bc3/split"
IMAGENET = "ImageNet's `train/WNID/*.JPEG` and `val/WNID/*.JPEG`, the validation images sorted into folders by class"


@register("imagenet100lt")
class ImageNet100LT(ListedBenchmark):
    """The full-shot list has no published checksum; only its structure is checked."""

    title = "ImageNet-100-LT"
    paper = "Deng et al. 2009; lists of Jiang et al., ICML 2021, arXiv:2106.02990"
    labelled_images = 133_689  # assumes that the full-shot list has all 126,689 training images
    classes = 100
    groups = "number"
    pools = ("imagenet-r", *ORDER)
    profiles: ClassVar = {
        "sdclr": Profile((), splits=1, about="SDCLR's list: 1280 to 6 images per class, Pareto-like", official=1),
        BALANCED: Profile((), splits=1, about="SDCLR's balanced list: 122 images per class", official=1),
    }
    images_folder = "imagenet"
    images_description = IMAGENET
    lists_folder = "lists/imagenet100lt"
    lists_source = "ImageNet by the lists of VITA-Group/SDCLR"
    files: ClassVar = {
        "pretrain": ListFile(
            "imageNet_100_LT_train.txt",
            f"{SDCLR}/imagenet-100/imageNet_100_LT_train.txt",
            "sha256:0f94d6eef6935578a1e287a35d337cc0fe4c41059b023247d35a4119c93820bb",
            images=12_205,
            smallest=6,
            largest=1280,
        ),
        "train": ListFile("ImageNet_100_train.txt", f"{SDCLR}/imagenet-100/ImageNet_100_train.txt"),
        "val": ListFile(
            "ImageNet_100_val.txt",
            f"{SDCLR}/imagenet-100/ImageNet_100_val.txt",
            "sha256:e4c423bf2b93f5cf2a2de747bf83dba7763016bdac0203a619f324f890146004",
            images=2000,
            smallest=20,
            largest=20,
        ),
        "fewshot": ListFile(
            "imageNet_100_sub_balance_train_0.01.txt",
            f"{SDCLR}/imagenet-100/imageNet_100_sub_balance_train_0.01.txt",
            "sha256:3b09fdbdf937ea7b62201b5619be2c54773907191c6c34425751ebdd57a301a9",
            images=1200,
            smallest=12,
            largest=12,
        ),
        "balanced": ListFile(
            "imageNet_100_BL_train.txt",
            f"{SDCLR}/imagenet-100/imageNet_100_BL_train.txt",
            "sha256:57e049bd8c79016dd8e599376a98c8f9f57e9bb82bb9f28758179a34ce2e9f28",
            images=12_200,
            smallest=122,
            largest=122,
        ),
        "test": ListFile(
            "ImageNet_100_test.txt",
            f"{SDCLR}/imagenet-100/ImageNet_100_test.txt",
            "sha256:2441627da7561b6d8e45dbcb34db8711ee678808cd88ec9d6d9b8d839a886363",
            images=5000,
            smallest=50,
            largest=50,
        ),
    }
