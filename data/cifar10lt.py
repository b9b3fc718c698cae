"""CIFAR-10-LT: the five official SDCLR splits, and Cao et al.'s other set of the same name."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from data import cifar10
from data.benchmark import Benchmark, Images, Profile, register
from data.longtail import IndexLists, Indices, exponential_profile, fingerprint, hold_out, shuffled_classes, take

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VAL_PER_CLASS = 500
BALANCED_PER_CLASS = 1116
FEWSHOT_PER_CLASS = 45
SPLIT_SEEDS = (0, 10, 56, 64, 81)
# classes from largest to smallest in each split: a table of the official lists, derived from no seed
CLASS_ORDERS = (
    (6, 8, 4, 1, 7, 0, 3, 2, 5, 9),
    (3, 9, 7, 4, 0, 1, 2, 6, 8, 5),
    (0, 4, 2, 8, 5, 6, 7, 1, 9, 3),
    (4, 7, 0, 6, 1, 9, 8, 3, 2, 5),
    (2, 4, 8, 1, 0, 3, 9, 7, 6, 5),
)
# SHA-256 of the official pretraining lists, as `fingerprint` takes it
PRETRAIN_SHA256 = (
    "7a45276aaa30a01a1db4c2bb73be84e64c2b833f2c5b6f10864545c2879a72d4",
    "4addf2af027ca0710b2b2811301ce5a2436f861f46750e534b7398d091add9d1",
    "01ba96dd02ab1555a8b9288b8ec7d70496efc838acbac99578bac67e5372e49e",
    "e53ae0cd7a17013039be189a8fc5d3e5cd960a763ef2558e0f28ed9623441ed4",
    "3680650da42fe942a1f6a220af23f23c982151852076a29318bcbf42150fd63c",
)


@register("cifar10lt")
class Cifar10LT(Benchmark):
    """Ten classes, 32x32, imbalance 100."""

    title = "CIFAR-10-LT"
    paper = "Krizhevsky 2009; splits of Jiang et al., ICML 2021, arXiv:2106.02990"
    image_size = 32
    labelled_images = 60_000
    class_names = CLASSES
    profiles: ClassVar = {
        "sdclr": Profile(
            tuple(exponential_profile(4500, 100, 10)),
            splits=5,
            about="official SDCLR splits: 4500 to 45 images a class after 500 a class are held out; own class order a split",
        ),
        "cao": Profile(
            tuple(exponential_profile(5000, 100, 10)),
            splits=5,
            about="Cao et al. 2019: 5000 to 50 images a class, airplane largest; split 1 is theirs (seed 0), 2 to 5 are "
            "this suite's (seeds 1 to 4); the pretraining set contains unlabelled validation images",
        ),
    }

    def load(self, data_root: Path) -> Images:
        """CIFAR-10, verified against the MD5s of the binary release."""
        return cifar10.load(data_root)

    def present(self, data_root: Path) -> str:
        """Which copy of CIFAR-10 is there."""
        return cifar10.present(data_root)

    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """The official lists, regenerated from the labels."""
        return {"sdclr": _sdclr, "cao": _cao}[profile](train_labels, split)


def _sdclr(labels: Indices, split: int) -> IndexLists:
    """Each class's pool is shuffled once a split; every list is a prefix of it, so that the lists nest."""
    val, pool = hold_out(labels, VAL_PER_CLASS)
    shuffled = shuffled_classes(pool, SPLIT_SEEDS[split - 1])
    counts = dict(zip(CLASS_ORDERS[split - 1], exponential_profile(4500, 100, 10), strict=True))
    pretrain = take(shuffled, [counts[c] for c in range(10)])
    if fingerprint(pretrain) != PRETRAIN_SHA256[split - 1]:
        raise RuntimeError(f"split {split} of CIFAR-10-LT came out other than the official list; use another Python")
    return IndexLists(
        pretrain=pretrain,
        balanced=take(shuffled, BALANCED_PER_CLASS),
        fewshot=take(shuffled, FEWSHOT_PER_CLASS),
        train=take(pool, len(labels)),
        val=take(val, VAL_PER_CLASS),
    )


def _cao(labels: Indices, split: int) -> IndexLists:
    """Cao et al.'s generator for the pretraining set; probes use the SDCLR family's 45,000 and 5,000 labelled images.

    kaidic/LDAM-DRW, `imbalance_cifar.py`: NumPy's global stream, seeded once, shuffles each class in order.
    """
    stream = np.random.RandomState(split - 1)
    shuffled = []
    for c in range(10):
        indices = np.flatnonzero(labels == c)
        stream.shuffle(indices)
        shuffled.append(indices.tolist())
    val, pool = hold_out(labels, VAL_PER_CLASS)
    held_out = {i for indices in val for i in indices}
    labelled = [[i for i in indices if i not in held_out] for indices in shuffled]
    return IndexLists(
        pretrain=take(shuffled, exponential_profile(5000, 100, 10)),
        balanced=take(shuffled, 1240),  # 12,400 images against 12,406
        fewshot=take(labelled, FEWSHOT_PER_CLASS),
        train=take(pool, len(labels)),
        val=take(val, VAL_PER_CLASS),
    )
