import numpy as np
import pytest

from eval.tail import describe_state, tail_detection

LABELS = np.repeat([0, 1, 2], [60, 30, 10])
COUNTS = np.bincount(LABELS)


def test_a_perfect_score_has_auroc_and_spearman_one():
    assert tail_detection(LABELS.astype(float), LABELS, COUNTS) == {"auroc": 1.0, "spearman": pytest.approx(1.0)}
    assert tail_detection(-LABELS.astype(float), LABELS, COUNTS)["auroc"] == 0
    chance = tail_detection(np.random.RandomState(0).randn(100), LABELS, COUNTS)
    assert abs(chance["auroc"] - 0.5) < 0.25


def test_auroc_is_the_fraction_of_correctly_ordered_pairs():
    scores = np.random.RandomState(1).randint(5, size=100).astype(float)
    few, others = scores[LABELS == 2], scores[LABELS != 2]
    pairs = (few[:, None] > others).mean() + 0.5 * (few[:, None] == others).mean()
    assert tail_detection(scores, LABELS, COUNTS)["auroc"] == pytest.approx(pairs)


def test_a_constant_score_has_no_value():
    assert tail_detection(np.zeros(100), LABELS, COUNTS) == {"auroc": None, "spearman": None}


def test_clusters_and_quantities_are_described():
    found = describe_state({"cluster": LABELS[::-1].copy(), "weight": LABELS + 1.0}, LABELS, COUNTS)
    assert found["weight"] == {"many": 1.0, "medium": 2.0, "few": 3.0}
    assert (found["clusters"]["number"], found["clusters"]["smallest"], found["clusters"]["largest"]) == (3, 10, 60)
    assert found["clusters"]["nmi"] < 1
    perfect = describe_state({"cluster": (LABELS + 1) % 3}, LABELS, COUNTS)["clusters"]
    assert perfect["nmi"] == pytest.approx(1)
    assert perfect["spearman"] == pytest.approx(1)
    assert perfect["variation"] == pytest.approx(np.std([60, 30, 10]) / (100 / 3))


def test_equal_clusters_have_no_rank_correlation():
    found = describe_state({"cluster": np.arange(100) % 4}, LABELS, COUNTS)["clusters"]
    assert found["spearman"] is None
    assert found["variation"] == 0


def test_an_empty_group_has_no_value():
    counts = np.array([200, 150, 120])  # by number all are many
    labels = np.arange(30) % 3
    found = tail_detection(np.arange(30.0), labels, counts, "number")
    assert found["auroc"] is None
    assert found["spearman"] is not None
    assert describe_state({"weight": np.ones(30)}, labels, counts, "number")["weight"] == {
        "many": 1.0,
        "medium": None,
        "few": None,
    }


def test_a_balanced_set_has_no_rank_correlation():
    found = tail_detection(np.arange(30.0), np.arange(30) % 3, np.array([10, 10, 10]))
    assert found["spearman"] is None


def test_a_balanced_set_uses_the_groups_of_the_long_tailed_set():
    labels, counts, long_tailed = np.arange(30) % 3, np.array([10, 10, 10]), np.array([3, 30, 300])
    found = tail_detection((labels == 0).astype(float), labels, counts, "thirds", long_tailed)
    assert found == {"auroc": 1.0, "spearman": None}
    state = {"cluster": np.r_[np.zeros(20), np.ones(10)].astype(int), "weight": (labels == 0).astype(float)}
    found = describe_state(state, labels, counts, "thirds", long_tailed)
    assert found["clusters"]["spearman"] is None
    assert found["weight"] == {"many": 0.0, "medium": 0.0, "few": 1.0}


def test_clusters_are_described_without_the_images_that_have_none():
    clusters = np.where(np.arange(len(LABELS)) == 0, -1, LABELS)  # as an unreadable image
    found = describe_state({"cluster": clusters}, LABELS, COUNTS)["clusters"]
    assert (found["number"], found["nmi"]) == (3, pytest.approx(1))
    assert found["largest"] + 1 == np.bincount(LABELS).max()
    assert "clusters" not in describe_state({"cluster": np.full(len(LABELS), -1)}, LABELS, COUNTS)
