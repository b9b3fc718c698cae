"""Tail detection: compares per-image scores and states of a method with the true classes. Analysis only, no training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score

from data.benchmark import Grouping
from data.lists.longtail import Indices
from eval.groups import GROUPS, grouped

OF_CLUSTERS = frozenset({"cluster", "sampled", "tailness"})  # states of an image's cluster, not of the image


def tail_detection(
    scores: NDArray[np.floating],
    labels: Indices,
    counts: NDArray[np.int64],
    grouping: Grouping = "thirds",
    group_counts: NDArray[np.int64] | None = None,
) -> dict[str, float | None]:
    """Measures how well tail scores detect images of rare classes.

    Args:
        scores: (N,) higher for images of the tail.
        labels: (N,) true classes.
        counts: (C,) images per class.
        grouping: rule of the many, medium and few group.
        group_counts: (C,) images per class that define the groups; for the balanced counterpart of a long-tailed set, those
            of the long-tailed set. Default: `counts`.

    Returns:
        `auroc`, of the score against "the class is in the few group" (chance: 0.5), and `spearman`, the rank correlation of
        the score with the negated class count (chance: 0). Both are None for a constant score; `auroc` also if the few group
        is empty, `spearman` also for a balanced set.
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
    """Relates per-image values of a method to the true classes.

    Args:
        state: (N,) values by name. `cluster`: pseudo-labels (negative: not assigned yet); `sampled` and `tailness`: number of
            OOD images sampled for the image's cluster, and the cluster's tailness score; all others are scalar quantities.
        labels: (N,) true classes.
        counts: (C,) images per class.
        grouping: rule of the many, medium and few group.
        group_counts: as for `tail_detection`.

    Returns:
        `clusters`: number, smallest and largest size and coefficient of variation of the clusters, normalised mutual
        information with the classes, and rank correlation of the cluster size of an image with its class count. For each
        quantity: its means over the many, medium and few group. `sampling`, per cluster: number of images, fraction of them in
        the few group, number of OOD images sampled, tailness.
    """
    found: dict[str, Any] = {}
    clusters = state.get("cluster")
    if clusters is not None and clusters.max() >= 0:
        assigned = clusters >= 0  # all but unreadable images
        members, classes_of = clusters[assigned], labels[assigned]
        own = np.bincount(members)[members]
        sizes = np.unique_counts(members).counts
        found["clusters"] = {
            "number": len(sizes),
            "smallest": int(sizes.min()),
            "largest": int(sizes.max()),
            "variation": float(sizes.std() / sizes.mean()),
            "nmi": float(normalized_mutual_info_score(classes_of, members)),
            "spearman": float(spearmanr(own, counts[classes_of]).statistic) if np.ptp(own) and np.ptp(counts) else None,
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
