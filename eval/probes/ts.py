"""The probes of temperature schedules (TS): neighbours and linear SVMs on the long-tailed set's own labels.

Annusha/temperature_schedules, `notebooks/simclr_tau_*.ipynb`. Features have unit length. Of images in memory the training
features are those of one draw of weak augmentation, of pictures in files of the unaugmented images, as there. Classifiers that
learn from long-tailed labels favour the head: these numbers do not compare with those of balanced probes.

What TS prints for its SVMs is the share of test images that are right; on test sets with equally many images of each class,
as CIFAR's and ImageNet's are, that is the mean over classes, which this suite records.
"""

import warnings
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from torch.nn import functional as F

from data.lists.longtail import IndexLists, Indices
from eval.features import Frozen, Rows
from eval.probes.base import Probe, ProbeResult, register
from eval.probes.neighbours import nearest

SEED = 42  # of the subset and of the SVM in the notebooks, whatever the run's
ONE_DRAW = "on unit features of one weakly augmented pass (shifted by up to 4 of 32 px, mirrored)"
PLAIN = "on unit features of unaugmented images"
KNN = "TS kNN, Euclidean, k = {}{}, against the pretraining images and their labels, {}"
SVM = "TS linear SVM (scikit-learn's LinearSVC, C = 1) on {}, {}"
MAJORITY = ", majority vote, ties to the lower class"


class Neighbours(Probe):
    """Majority vote of the nearest long-tailed images; ties go to the lower class."""

    needs = ("pretrain",)
    passes = 0.2
    k: ClassVar[int]

    def run(self, frozen: Frozen, seed: int) -> ProbeResult:
        bank = _training_rows(frozen, frozen.lists.pretrain, seed)
        _, place = nearest(frozen.test, bank, self.k, frozen.device)
        return ProbeResult(majority(bank.labels[place].numpy())[None], len(bank), "nothing")


@register("ts-knn1")
class Nearest(Neighbours):
    """The class of the nearest long-tailed image."""

    protocol, protocol_in_files = KNN.format(1, "", ONE_DRAW), KNN.format(1, "", PLAIN)
    k = 1


@register("ts-knn10")
class TenNearest(Neighbours):
    """The vote of the ten nearest long-tailed images."""

    protocol, protocol_in_files = KNN.format(10, MAJORITY, ONE_DRAW), KNN.format(10, MAJORITY, PLAIN)
    k = 10


@register("ts-longtailed")
class LongTailed(Probe):
    """A linear SVM on the long-tailed images and their labels ("LT" in the notebooks)."""

    protocol = SVM.format("the pretraining images", ONE_DRAW)
    protocol_in_files = SVM.format("the pretraining images", PLAIN)
    needs = ("pretrain",)

    def run(self, frozen: Frozen, seed: int) -> ProbeResult:
        return _svm(_training_rows(frozen, frozen.lists.pretrain, seed), frozen.test)


@register("ts-fewshot")
class FewShot(Probe):
    """A linear SVM on a small balanced set ("FS" in the notebooks)."""

    protocol = SVM.format("as many of the pretraining images of each class as the smallest has (numpy seed 42)", ONE_DRAW)
    protocol_in_files = SVM.format("the 1 % list", PLAIN)
    needs = ("pretrain", "fewshot")

    @classmethod
    def feature_lists(cls, lists: IndexLists) -> tuple[str, ...]:
        return ("fewshot",)

    def run(self, frozen: Frozen, seed: int) -> ProbeResult:
        lists, labels = frozen.lists, frozen.images.train_labels
        chosen = lists.fewshot if frozen.in_files else lists.pretrain[smallest(labels[lists.pretrain])]
        return _svm(_training_rows(frozen, chosen, seed), frozen.test)


def majority(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The commonest of each row of (M, k) labels, (M,); of equally common ones the lowest."""
    ordered = np.sort(labels, axis=1)
    votes = (ordered[:, :, None] == ordered[:, None, :]).sum(axis=2)
    return ordered[np.arange(len(ordered)), votes.argmax(axis=1)]  # the first of the most votes, and labels ascend


def smallest(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of equally many images of each class that occurs, class after class: as many as the rarest of them has.

    As in the notebooks, the places of a class are shuffled by one `RandomState(42)` over the classes in order.
    """
    stream = np.random.RandomState(SEED)
    classes, counts = np.unique(labels, return_counts=True)
    taken = []
    for c in classes:
        places = np.flatnonzero(labels == c)
        stream.shuffle(places)
        taken.append(places[: counts.min()])
    return np.concatenate(taken)


def _training_rows(frozen: Frozen, indices: Indices, seed: int) -> Rows:
    return frozen.rows(indices) if frozen.in_files else frozen.augmented(indices, seed, "ts")


def _svm(train: Rows, test: Rows) -> ProbeResult:
    svm = LinearSVC(random_state=SEED)
    x, y = train[:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the result says it
        svm.fit(F.normalize(x, dim=1, out=x).numpy(), y.numpy())
    predicted = np.concatenate([svm.predict(F.normalize(x, dim=1).numpy()) for x, _ in test.blocks()])
    converged = svm.n_iter_ < svm.max_iter
    return ProbeResult(predicted[None], len(train), "nothing" if converged else f"not converged after {svm.n_iter_} iterations")
