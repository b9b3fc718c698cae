"""CIFAR-100-LT: the five official SDCLR splits, other imbalance ratios, and the set of Cao et al. as used by GH."""

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

from data.benchmark import Images, Source, register
from data.datasets.cifar import CifarLT
from data.datasets.cifar_profiles import CifarProfiles
from data.lists.longtail import Indices
from data.sources import cifar100

FINE_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar
cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl
hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


@register("cifar100lt")
class Cifar100LT(CifarLT):
    """100 classes, 32x32 px."""

    title = "CIFAR-100-LT"
    paper = "Krizhevsky 2009; splits of Jiang et al., ICML 2021, arXiv:2106.02990"
    labelled_images = 55_000
    class_names = tuple(FINE_NAMES.split())
    profiles = CifarProfiles(
        classes=100,
        per_class=500,
        held_out=50,
        cao="gh",
        cao_about="Cao et al. 2019, as MediaBrain-SJTU/Geometric-Harmonization trains on it: 500 to 5 images per class, "
        "largest: apple; split 1 is published (seed 0), others are defined by this suite (seed: split number - 1); the "
        "pretraining set contains the validation images, unlabelled",
    )
    left_out = 50
    own_pools = ("cifar100",)
    split_seeds = (0, 10, 21, 33, 45)
    # the official lists determine class counts only; classes of equal count are in the order of the lists
    class_orders: ClassVar = (
        (
            7, 14, 57, 49, 82, 72, 9, 60, 52, 99, 12, 21, 5, 64, 3, 20, 50, 56, 15, 27, 44, 42, 87, 90, 69, 8, 24, 55, 83, 51,
            26, 6, 47, 81, 88, 43, 58, 35, 98, 40, 96, 34, 77, 89, 23, 10, 92, 19, 22, 79, 30, 39, 36, 95, 32, 33, 38, 62, 71,
            41, 86, 85, 4, 13, 17, 45, 97, 31, 59, 73, 84, 25, 16, 28, 61, 65, 68, 75, 46, 67, 80, 91, 2, 54, 66, 29, 53, 37,
            48, 94, 18, 74, 93, 1, 11, 63, 76, 0, 70, 78,
        ),
        (
            84, 73, 18, 31, 66, 57, 76, 10, 19, 81, 37, 99, 67, 49, 56, 93, 4, 29, 85, 65, 79, 27, 47, 97, 22, 43, 5, 11, 61,
            13, 68, 95, 72, 96, 23, 45, 54, 14, 59, 41, 71, 42, 50, 1, 16, 39, 88, 15, 60, 33, 44, 89, 69, 94, 75, 34, 52, 90,
            7, 12, 82, 77, 38, 46, 51, 98, 78, 36, 92, 3, 58, 32, 6, 24, 55, 26, 48, 80, 28, 30, 9, 83, 8, 17, 21, 40, 70, 35,
            62, 86, 74, 87, 91, 20, 53, 63, 64, 0, 2, 25,
        ),
        (
            99, 27, 42, 16, 25, 69, 36, 56, 8, 21, 68, 4, 40, 83, 39, 3, 86, 30, 43, 52, 65, 35, 88, 11, 55, 76, 61, 24, 5, 90,
            64, 44, 48, 66, 58, 41, 89, 51, 29, 63, 0, 80, 13, 94, 57, 84, 96, 31, 78, 79, 95, 18, 60, 67, 10, 71, 54, 12, 7,
            22, 6, 23, 74, 38, 59, 45, 62, 53, 91, 92, 73, 17, 46, 77, 2, 19, 28, 75, 14, 85, 70, 72, 15, 37, 93, 26, 47, 20,
            34, 98, 32, 81, 97, 9, 49, 50, 87, 1, 33, 82,
        ),
        (
            59, 24, 97, 67, 73, 0, 85, 4, 78, 51, 17, 12, 80, 8, 52, 54, 7, 14, 63, 30, 77, 13, 61, 74, 18, 75, 27, 81, 76, 45,
            92, 58, 37, 38, 28, 99, 86, 20, 94, 41, 50, 32, 5, 22, 95, 1, 88, 26, 48, 72, 29, 98, 79, 60, 34, 23, 84, 83, 3, 53,
            9, 21, 62, 40, 56, 96, 49, 33, 89, 93, 2, 65, 31, 44, 69, 16, 66, 70, 35, 55, 25, 71, 6, 68, 91, 42, 46, 57, 64, 82,
            10, 43, 47, 11, 15, 36, 90, 19, 39, 87,
        ),
        (
            5, 85, 65, 8, 95, 44, 68, 23, 50, 75, 71, 86, 16, 30, 24, 36, 6, 11, 83, 97, 74, 67, 17, 41, 48, 45, 33, 55, 90, 77,
            12, 92, 32, 84, 20, 89, 19, 69, 53, 87, 14, 26, 46, 49, 80, 52, 63, 91, 25, 4, 22, 99, 82, 15, 73, 31, 42, 21, 47,
            88, 98, 9, 51, 66, 39, 27, 43, 54, 64, 10, 57, 78, 37, 62, 28, 18, 56, 3, 35, 81, 34, 96, 1, 38, 40, 58, 70, 29, 59,
            94, 7, 61, 79, 2, 13, 76, 93, 0, 60, 72,
        ),
    )  # fmt: skip
    pretrain_sha256 = (
        "334af191af93c7840d568f8336518db11ae40530c666786d9ba32696b294a1d5",
        "ed4ca7a4bb94f0853fd19adf37be2be75e676454820e216565ccadd779eed51c",
        "d5865042f78e9aa515c308e0028d56e5a243e652cb7a8ff8a4dd213d0a97092a",
        "aa2aa81f6cd0b37d8fb463c56519c3d7767298610e26b435b1c2b90567eb3745",
        "73e25b384f421494ef46a30f16e779be0195115d484528ff9c19c5ffac79630a",
    )

    def load(self, data_root: Path, needs: Collection[str] | None = None, *, fetch: bool = True) -> Images:
        """Loads CIFAR-100, verified as far as the file format allows."""
        return cifar100.load(data_root, fetch=fetch)

    def describe_copy(self, data_root: Path) -> str:
        """Describes the copy of CIFAR-100 and whether its image order is a surrogate."""
        return cifar100.describe_copy(data_root)

    def labels(self, data_root: Path) -> tuple[Indices, Source]:
        """Returns the training labels of the existing copy."""
        return cifar100.labels(data_root)
