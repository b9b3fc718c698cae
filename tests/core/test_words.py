import pytest

from core.words import are, by_number, counted, listed, printable


@pytest.mark.parametrize(
    ("n", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (1, "class", "1 class"),
        (3, "class", "3 classes"),
        (2, "process", "2 processes"),
        (12345, "index file", "12,345 index files"),
    ],
)
def test_nouns_agree_with_their_number(n, noun, text):
    assert counted(n, noun) == text


def test_verbs_agree_with_their_number():
    assert [are(n) for n in (0, 1, 2)] == ["are", "is", "are"]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a, b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (map(str, range(2000)), "0, 1 and 1,998 more"),
    ],
)
def test_long_lists_are_shortened(names, text):
    assert listed(names, 2) == text


def test_names_that_are_not_utf_8_can_be_printed():
    assert printable("a\udcff") == listed(["a\udcff"]) == "a\\udcff"


def test_numbers_in_names_are_sorted_by_value():
    names = ["inat18", "cifar100lt", "digitslt", "imagenetlt", "cifar10lt", "imagenet100lt", "7"]
    assert sorted(names, key=by_number) == ["7", "cifar10lt", "cifar100lt", "digitslt", "imagenet100lt", "imagenetlt", "inat18"]
