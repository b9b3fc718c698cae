"""A sample of the test features of a run, for figures.

tsne.npz    features (n, d) float16 of unit length, labels (n,) int64, groups (n,) int8: 0 many, 1 medium, 2 few
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.files import write_atomic
from run_store.arrays import read_arrays
from run_store.layout import FEATURE_SAMPLE

MOST = 2000  # images of a sample


@dataclass(frozen=True, eq=False)
class Sample:
    """Some test images."""

    features: NDArray[np.float16]  # (n, d) of unit length
    labels: NDArray[np.int64]  # (n,)
    groups: NDArray[np.int8]  # (n,) place of the class's group in many, medium, few


def draw_sample(features: ArrayLike, labels: ArrayLike, groups: ArrayLike, seed: int, most: int = MOST) -> Sample:
    """At most `most` of the N images, about as many of every class, drawn without replacement.

    Args:
        features: (N, d) of the test images; only their direction is kept.
        labels: (N,) true classes.
        groups: (N,) 0, 1 or 2: whether the class is among the many, the medium or the few.
        seed: of the draw.
        most: images in all.
    """
    features, labels, groups = np.asarray(features), np.asarray(labels), np.asarray(groups)
    mixed = np.random.default_rng(seed).permutation(len(labels))
    by_class = mixed[np.argsort(labels[mixed], kind="stable")]
    # the first of every class come before the second of any: the rank of an image within its class, then its own place
    rank = np.arange(len(by_class)) - np.searchsorted(labels[by_class], labels[by_class])
    chosen = np.sort(by_class[np.lexsort([mixed.argsort()[by_class], rank])[:most]])
    kept = features[chosen].astype(np.float32)
    kept /= np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
    return Sample(kept.astype(np.float16), labels[chosen].astype(np.int64), groups[chosen].astype(np.int8))


def save_sample(folder: Path, sample: Sample) -> None:
    """Writes `tsne.npz` into a run folder. Raises UserError where it cannot be written."""
    features, labels, groups = sample.features, sample.labels, sample.groups
    write_atomic(
        folder / FEATURE_SAMPLE, lambda file: np.savez_compressed(file, features=features, labels=labels, groups=groups)
    )


def load_sample(folder: Path) -> Sample | None:
    """Reads it back; None where there is none. Raises ValueError for a file that is damaged."""
    file = folder / FEATURE_SAMPLE
    if not file.exists():
        return None
    content = read_arrays(file)
    features, labels, groups = (content.get(name, np.empty(0)) for name in ("features", "labels", "groups"))
    if features.ndim != 2 or not len(features) == len(labels) == len(groups) or not np.isfinite(features).all():
        raise ValueError(f"{file} is damaged: shapes or values are not those of a sample")
    if not np.isin(groups, (0, 1, 2)).all() or (len(labels) and labels.min() < 0):
        raise ValueError(f"{file} is damaged: labels or groups are out of range")
    return Sample(features, labels, groups)
