"""CIFAR-10-LT: the five official SDCLR splits, other imbalance ratios, and the set of Cao et al."""

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

from data.benchmark import Images, Source, register
from data.datasets.cifar import CifarLT
from data.datasets.cifar_profiles import CifarProfiles
from data.lists.longtail import Indices
from data.sources import cifar10


@register("cifar10lt")
class Cifar10LT(CifarLT):
    """10 classes, 32x32 px."""

    title = "CIFAR-10-LT"
    paper = "Krizhevsky 2009; splits of Jiang et al., ICML 2021, arXiv:2106.02990"
    labelled_images = 60_000
    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    profiles = CifarProfiles(
        classes=10,
        per_class=5000,
        held_out=500,
        cao="cao",
        cao_about="Cao et al. 2019: 5000 to 50 images per class, largest: airplane; split 1 is published (seed 0), others are "
        "defined by this suite (seed: split number - 1); the pretraining set contains the validation images, unlabelled",
    )
    left_out = 0
    split_seeds = (0, 10, 56, 64, 81)
    class_orders: ClassVar = (
        (6, 8, 4, 1, 7, 0, 3, 2, 5, 9),
        (3, 9, 7, 4, 0, 1, 2, 6, 8, 5),
        (0, 4, 2, 8, 5, 6, 7, 1, 9, 3),
        (4, 7, 0, 6, 1, 9, 8, 3, 2, 5),
        (2, 4, 8, 1, 0, 3, 9, 7, 6, 5),
    )
    pretrain_sha256 = (
        "7a45276aaa30a01a1db4c2bb73be84e64c2b833f2c5b6f10864545c2879a72d4",
        "4addf2af027ca0710b2b2811301ce5a2436f861f46750e534b7398d091add9d1",
        "01ba96dd02ab1555a8b9288b8ec7d70496efc838acbac99578bac67e5372e49e",
        "e53ae0cd7a17013039be189a8fc5d3e5cd960a763ef2558e0f28ed9623441ed4",
        "3680650da42fe942a1f6a220af23f23c982151852076a29318bcbf42150fd63c",
    )

    def load(self, data_root: Path, needs: Collection[str] | None = None, *, fetch: bool = True) -> Images:
        """Loads CIFAR-10, verified against the MD5s of the binary release."""
        return cifar10.load(data_root, fetch=fetch)

    def describe_copy(self, data_root: Path) -> str:
        """Describes the copy of CIFAR-10."""
        return cifar10.describe_copy(data_root)

    def labels(self, data_root: Path) -> tuple[Indices, Source]:
        """Returns the training labels of the existing copy."""
        return cifar10.labels(data_root)
