"""Digits-LT: a long-tailed version of scikit-learn's bundled 8x8 digits, for tests and demonstrations without a download."""

from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import ClassVar

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from data.benchmark import Benchmark, Images, Profile, Source, register
from data.lists.longtail import IndexLists, Indices, cut, exponential_profile, hold_out, shuffled_classes, take
from data.recipe import Recipe
from data.views.spec import View

SIDE = 16  # the 8x8 scans are upsampled, so that networks can downsample them
TEST_PER_CLASS = 40
VAL_PER_CLASS = 20
COUNTS = exponential_profile(100, 20, 10)
FEWSHOT_PER_CLASS = COUNTS[-1]


@register("digitslt")
class DigitsLT(Benchmark):
    """10 classes of handwritten digits, 16x16 px, imbalance ratio 20; defined by this suite, not used in papers."""

    title = "Digits-LT"
    paper = "UCI digits as bundled with scikit-learn; splits of this suite"
    image_size = SIDE
    labelled_images = 1797
    class_names = tuple("0123456789")
    profiles: ClassVar = {
        "own": Profile(tuple(COUNTS), splits=5, about="100 to 5 images per class, random class order per split", official=0)
    }
    view = View(crop_scale=(0.4, 1.0), flip_p=0.0, saturation=0.0, hue=0.0, gray_p=0.0)  # a mirrored 2 is no 2
    recipe = Recipe(epochs=200, batch_size=64, lr=0.06, warmup_epochs=5, sizes=(SIDE,))
    suite = False

    def load(self, data_root: Path, needs: Collection[str] | None = None, *, fetch: bool = True) -> Images:
        """Loads all digits and splits them into training and test images; `data_root` is unused."""
        scans = load_digits()
        labels = scans.target.astype(np.int64)
        held_out, rest = hold_out(labels, TEST_PER_CLASS)
        train, test = take(rest, len(labels)), take(held_out, TEST_PER_CLASS)
        images = np.stack([_enlarge(scan) for scan in scans.images])
        source = Source("scikit-learn's digits", f"sha256 {sha256(images.tobytes()).hexdigest()} of the enlarged images")
        return Images(images[train], labels[train], images[test], labels[test], source)

    def describe_copy(self, data_root: Path) -> str:
        """Describes the source; the data is always available."""
        return "bundled with scikit-learn"

    def lists(self, train_labels: Indices, profile: str, split: int) -> IndexLists:
        """Constructs lists like the SDCLR splits, with the split number as the seed of shuffles and class order."""
        val, pool = hold_out(train_labels, VAL_PER_CLASS)
        shuffled = shuffled_classes(pool, split)
        order = list(range(10))
        Random(split).shuffle(order)
        return IndexLists(
            **cut(shuffled, order, COUNTS),
            fewshot=take(shuffled, FEWSHOT_PER_CLASS),
            train=take(pool, len(train_labels)),
            val=take(val, VAL_PER_CLASS),
        )


def _enlarge(scan: np.ndarray) -> np.ndarray:
    """Converts an 8x8 scan with values 0 to 16 to (3, SIDE, SIDE) uint8."""
    gray = Image.fromarray((scan * (255 / 16)).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.repeat(np.asarray(gray)[None], 3, axis=0)
