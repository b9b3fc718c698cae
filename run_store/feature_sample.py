"""A sample of the test features of a run, for figures.

tsne.npz    features (n, d) float16 of unit length, labels (n,) int64, groups (n,) int8: 0 many, 1 medium, 2 few
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.arrays import Form, read_arrays, write_arrays
from core.schema import InvalidData, damaged
from run_store.layout import FEATURE_SAMPLE

SIZE = 2000  # images of a sample
FORMS = {
    "features": Form(np.float16, ("n", "d")),
    "labels": Form(np.int64, ("n",)),
    "groups": Form(np.int8, ("n",)),
}
ADVICE = "restore it, or probe the run again"


@dataclass(frozen=True, eq=False)
class Sample:
    """Features of a sample of the test images."""

    features: NDArray[np.float16]  # (n, d), L2-normalised
    labels: NDArray[np.int64]  # (n,)
    groups: NDArray[np.int8]  # (n,) 0 many, 1 medium, 2 few


def draw_sample(features: ArrayLike, labels: ArrayLike, groups: ArrayLike, seed: int, size: int = SIZE) -> Sample:
    """Draws at most `size` of the N images without replacement, approximately balanced over classes.

    Args:
        features: (N, d) of the test images; they are L2-normalised.
        labels: (N,) true classes.
        groups: (N,) group of the class: 0 many, 1 medium, 2 few.
        seed: of the draw.
        size: maximum number of images.
    """
    features, labels, groups = np.asarray(features), np.asarray(labels), np.asarray(groups)
    mixed = np.random.default_rng(seed).permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    # sorted by rank within the class, then by random position: the first image of every class precedes the second of any
    rank = np.arange(len(by_class)) - np.searchsorted(labels[by_class], labels[by_class])
    chosen = np.sort(by_class[np.lexsort([mixed.argsort()[by_class], rank])[:size]])
    kept = features[chosen].astype(np.float32)
    kept /= np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
    return Sample(kept.astype(np.float16), labels[chosen].astype(np.int64), groups[chosen].astype(np.int8))


def save_sample(folder: Path, sample: Sample) -> None:
    """Writes `tsne.npz` into a run folder. Raises UserError if it cannot be written."""
    write_arrays(folder / FEATURE_SAMPLE, **vars(sample))


def load_sample(folder: Path) -> Sample | None:
    """Reads `tsne.npz`; returns None if it does not exist. Raises UserError if it is damaged."""
    file = folder / FEATURE_SAMPLE
    if not file.exists():
        return None
    content = read_arrays(file, ADVICE, **FORMS)
    sample = Sample(*(content[name] for name in FORMS))
    if not (np.isfinite(sample.features).all() and np.isin(sample.groups, (0, 1, 2)).all() and (sample.labels >= 0).all()):
        raise damaged(file, InvalidData("values are out of range"), ADVICE)
    return sample
