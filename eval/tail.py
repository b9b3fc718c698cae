"""Does a method find the tail? Its per-image scores and states against the true classes, for analysis only."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score

from data.benchmark import Grouping
from data.lists.longtail import Indices
from eval.groups import GROUPS, grouped

OF_CLUSTERS = frozenset({"cluster", "sampled", "tailness"})  # states that say something of an image's cluster


def tail_detection(
    scores: NDArray[np.floating],
    labels: Indices,
    counts: NDArray[np.int64],
    grouping: Grouping = "thirds",
    group_counts: NDArray[np.int64] | None = None,
) -> dict[str, float | None]:
    """How well tail scores single out the images of rare classes.

    Args:
        scores: (N,) higher means more like the tail.
        labels: (N,) true classes.
        counts: (C,) images per class.
        grouping: which classes are many, medium and few.
        group_counts: (C,) by which they are that: of a balanced twin, those of the long-tailed set. Default: `counts`.

    Returns:
        `auroc` of the score against "the class is in the few group", and `spearman`, the rank correlation of the score with
        the rarity of the class (the negated class count): 0.5 and 0 for a score that knows nothing; None for a score that is
        the same everywhere, for the area where the few group is empty, and for the correlation of a balanced set.
    """
    if np.ptp(scores) == 0:
        return {"auroc": None, "spearman": None}
    few = np.isin(labels, grouped(counts if group_counts is None else group_counts, grouping)[2])
    return {
        "auroc": float(roc_auc_score(few, scores)) if few.any() and not few.all() else None,
        "spearman": float(spearmanr(scores, -counts[labels]).statistic) if np.ptp(counts) else None,
    }


def describe_state(
    state: Mapping[str, NDArray],
    labels: Indices,
    counts: NDArray[np.int64],
    grouping: Grouping = "thirds",
    group_counts: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """What per-image values of a method have to do with the true classes.

    Args:
        state: (N,) values by name; `cluster` holds pseudo-labels (negative: none yet), `sampled` and `tailness` how many images
            from elsewhere an image's cluster got and for how much of the tail it was taken; all others are quantities.
        labels: (N,) true classes.
        counts: (C,) images per class.
        grouping: which classes are many, medium and few.
        group_counts: (C,) by which they are that: of a balanced twin, those of the long-tailed set. Default: `counts`.

    Returns:
        For `cluster`: number, smallest and largest size and coefficient of variation of the clusters, normalised mutual
        information with the classes, and rank correlation of an image's cluster size with its class's count. For a quantity:
        its mean in the true many, medium and few groups. Of a `sampling`, for each cluster: its images, the share of them in
        the few group, the images it got and its tailness.
    """
    found: dict[str, Any] = {}
    clusters = state.get("cluster")
    if clusters is not None and clusters.min() >= 0:
        own = np.bincount(clusters)[clusters]
        sizes = np.unique_counts(clusters).counts
        found["clusters"] = {
            "number": len(sizes),
            "smallest": int(sizes.min()),
            "largest": int(sizes.max()),
            "variation": float(sizes.std() / sizes.mean()),
            "nmi": float(normalized_mutual_info_score(labels, clusters)),
            "spearman": float(spearmanr(own, counts[labels]).statistic) if np.ptp(own) and np.ptp(counts) else None,
        }
    groups = grouped(counts if group_counts is None else group_counts, grouping)
    for name, values in state.items():
        if name not in OF_CLUSTERS:
            found[name] = {
                group: float(values[np.isin(labels, classes)].mean()) if len(classes) else None
                for group, classes in zip(GROUPS, groups, strict=True)
            }
    if clusters is not None and "clusters" in found and "sampled" in state:
        few = np.isin(labels, groups[2])
        of_each, first, images = np.unique(clusters, return_index=True, return_counts=True)
        found["sampling"] = {
            "images": images.tolist(),
            "few": [float(few[clusters == c].mean()) for c in of_each],
            **{name: state[name][first].tolist() for name in ("sampled", "tailness")},
        }
    return found
