"""Quantiles over each true class of the per-image state of a method after training, for figures.

by_class.npz    counts (C,) int64, images of each class
                quantities (Q,) str, names of the quantities
                values (Q, C, 5) float32, quantiles QUANTILES over the class's images; NaN for a class without images
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.arrays import Form, read_arrays, write_arrays
from run_store.layout import CLASS_QUANTILES

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
FORMS = {
    "counts": Form(np.integer, ("C",)),
    "quantities": Form(np.str_, ("Q",)),
    "values": Form(np.float32, ("Q", "C", len(QUANTILES))),
}
ADVICE = "restore it, or train the run again"


@dataclass(frozen=True, eq=False)
class ClassQuantiles:
    """Content of the file."""

    counts: NDArray[np.int64]  # (C,)
    values: Mapping[str, NDArray[np.float32]]  # (C, 5) by quantity


def save_class_quantiles(folder: Path, state: Mapping[str, ArrayLike], labels: ArrayLike, classes: int) -> None:
    """Writes `by_class.npz` into a run folder. Raises UserError if it cannot be written.

    Args:
        folder: of the run.
        state: (N,) values of the pretraining images by name, from `Method.sample_state`; `cluster` is skipped.
        labels: (N,) true classes.
        classes: C.
    """
    labels = np.asarray(labels)
    names = sorted(name for name in state if name != "cluster")
    values = np.full((len(names), classes, len(QUANTILES)), np.nan, dtype=np.float32)
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=classes)
    for number, name in enumerate(names):
        parts = np.split(np.asarray(state[name], dtype=np.float64)[by_class], np.cumsum(counts)[:-1])
        for c, part in enumerate(parts):
            if len(part):
                values[number, c] = np.quantile(part, QUANTILES)
    write_arrays(folder / CLASS_QUANTILES, counts=counts, quantities=np.array(names, dtype=np.str_), values=values)


def load_class_quantiles(folder: Path) -> ClassQuantiles | None:
    """Reads `by_class.npz`; returns None if it does not exist. Raises UserError if it is damaged."""
    file = folder / CLASS_QUANTILES
    if not file.exists():
        return None
    content = read_arrays(file, ADVICE, **FORMS)
    return ClassQuantiles(content["counts"], dict(zip(content["quantities"].tolist(), content["values"], strict=True)))
