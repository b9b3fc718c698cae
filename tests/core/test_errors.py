import pytest

from core.errors import LISTED, nearest
from core.method_groups import METHOD_GROUPS
from data.benchmark import BENCHMARKS
from eval.probes import PROBES
from methods import METHODS

NAMES = {"method": [*METHODS.names(), *METHOD_GROUPS], "dataset": BENCHMARKS.names(), "probe": PROBES.names()}


@pytest.mark.parametrize(
    ("kind", "typed", "suggested"),
    [
        ("method", "moco", "'mocov2' or 'mocov3'"),
        ("method", "MoCo-v2", "'mocov2'"),
        ("method", "simcrl", "'simclr'"),
        ("method", "SimCLRv2", "'simclr'"),
        ("method", "bylo", "'byol'"),
        ("method", "TASE-R", "'tase'"),
        ("method", "barlowtwins", "'barlow'"),
        ("method", "longtail", "'long-tail'"),
        ("dataset", "CIFAR10", "'cifar10lt'"),
        ("dataset", "CIFAR100-LT", "'cifar100lt'"),
        ("dataset", "ImageNet", "'imagenetlt'"),
        ("dataset", "inat2018", "'inat18'"),
        ("probe", "rigde", "'ridge'"),
        ("probe", "knn5", "'knn'"),
        ("probe", "few-shot", "'ts-fewshot'"),
    ],
)
def test_similar_names_are_suggested(kind, typed, suggested):
    assert nearest(typed, NAMES[kind]) == f"; did you mean {suggested}?"


@pytest.mark.parametrize(
    ("kind", "typed"),
    [("method", "paco"), ("method", "vit"), ("method", "data2vec"), ("dataset", "svhn"), ("probe", "svm")],
)
def test_names_that_are_not_similar_list_all(kind, typed):
    assert nearest(typed, NAMES[kind]) == f"; choose from: {', '.join(sorted(NAMES[kind]))}"


def test_more_names_than_a_line_holds_are_counted():
    assert nearest("x", map(str, range(LISTED + 1))) == "; none of the 51 is similar"
