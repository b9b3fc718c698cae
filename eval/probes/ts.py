"""Probes of temperature schedules (TS): kNN and linear SVMs, mostly on the labels of the long-tailed set.

Reference: Annusha/temperature_schedules, `notebooks/simclr_tau_*.ipynb`. Features are L2-normalised. As in the reference,
training features are those of one draw of weak augmentation for images in memory, and of unaugmented images for image files.
Classifiers trained on long-tailed labels favour the head: accuracies are not comparable with those of balanced probes.

The notebooks use scikit-learn's LinearSVC, whose solution is approximate. `eval/svm.py` solves the same problem faster and more
exactly; on CIFAR-10-LT 3 of 10,000 predictions differ.

TS reports the overall accuracy of its SVMs; on balanced test sets, such as CIFAR's and ImageNet's, it equals the mean class
accuracy, which this suite records.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from data.lists.longtail import IndexLists, Indices
from eval.features import FrozenFeatures, LabelledFeatures
from eval.probes.base import Probe, ProbeResult, register
from eval.probes.neighbours import nearest
from eval.svm import fit

SEED = 42  # of the subset in the notebooks, for every seed of the run
ONE_DRAW = "on unit features of one weakly augmented pass (shifted by up to 4 of 32 px, mirrored)"
PLAIN = "on unit features of unaugmented images"
KNN = "TS kNN, Euclidean, k = {}{}, against the pretraining images and their labels, {}"
SVM = "TS linear SVM (the problem of scikit-learn's LinearSVC, C = 1) on {}, {}"
MAJORITY = ", majority vote, ties to the lower class"


class Neighbours(Probe):
    """Majority vote of the k nearest pretraining images; ties go to the lower class."""

    needs = ("pretrain",)
    passes = 0.2
    k: ClassVar[int]

    def run(self, frozen: FrozenFeatures, seed: int) -> ProbeResult:
        bank = _training_features(frozen, frozen.lists.pretrain, seed)
        _, neighbours = nearest(frozen.test, bank, self.k, frozen.device)
        return ProbeResult(majority(bank.labels[neighbours].numpy())[None], len(bank), "nothing")


@register("ts-knn1")
class Nearest(Neighbours):
    """1-nearest-neighbour classifier on the pretraining images."""

    protocol, protocol_in_files = KNN.format(1, "", ONE_DRAW), KNN.format(1, "", PLAIN)
    k = 1


@register("ts-knn10")
class TenNearest(Neighbours):
    """10-nearest-neighbour classifier on the pretraining images."""

    protocol, protocol_in_files = KNN.format(10, MAJORITY, ONE_DRAW), KNN.format(10, MAJORITY, PLAIN)
    k = 10


@register("ts-longtailed")
class LongTailed(Probe):
    """Linear SVM on the long-tailed pretraining images and their labels ("LT" in the notebooks)."""

    protocol = SVM.format("the pretraining images", ONE_DRAW)
    protocol_in_files = SVM.format("the pretraining images", PLAIN)
    needs = ("pretrain",)

    def run(self, frozen: FrozenFeatures, seed: int) -> ProbeResult:
        return _svm(frozen, _training_features(frozen, frozen.lists.pretrain, seed))


@register("ts-fewshot")
class FewShot(Probe):
    """Linear SVM on a small balanced set ("FS" in the notebooks)."""

    protocol = SVM.format("as many of the pretraining images of each class as the smallest has (numpy seed 42)", ONE_DRAW)
    protocol_in_files = SVM.format("the 1 % list", PLAIN)
    needs = ("pretrain", "fewshot")

    @classmethod
    def feature_lists(cls, lists: IndexLists) -> tuple[str, ...]:
        return ("fewshot",)

    def run(self, frozen: FrozenFeatures, seed: int) -> ProbeResult:
        lists, labels = frozen.lists, frozen.images.train_labels
        chosen = lists.fewshot if frozen.in_files else lists.pretrain[balanced_subset(labels[lists.pretrain])]
        return _svm(frozen, _training_features(frozen, chosen, seed))


def majority(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the most frequent label of each row of (M, k) labels, (M,); ties go to the lowest."""
    ordered = np.sort(labels, axis=1)
    votes = (ordered[:, :, None] == ordered[:, None, :]).sum(axis=2)
    return ordered[np.arange(len(ordered)), votes.argmax(axis=1)]  # the first maximum is the lowest label, as rows are sorted


def balanced_subset(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns positions of a class-balanced subset, ordered by class, with as many images per class as the smallest class has.

    As in the notebooks, the positions of each class are shuffled by one `RandomState(42)`, class by class. Classes that do not
    occur are skipped.
    """
    stream = np.random.RandomState(SEED)
    _, counts = np.unique(labels, return_counts=True)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    for positions in by_class:
        stream.shuffle(positions)
    return np.concatenate([positions[: counts.min()] for positions in by_class])


def _training_features(frozen: FrozenFeatures, indices: Indices, seed: int) -> LabelledFeatures:
    return frozen.unaugmented(indices) if frozen.in_files else frozen.augmented(indices, seed, "ts")


def _svm(frozen: FrozenFeatures, train: LabelledFeatures) -> ProbeResult:
    svm = fit(train, frozen.classes, frozen.device)
    return ProbeResult(svm.predict(frozen.test)[None], len(train), "nothing" if svm.converged else "not converged")
