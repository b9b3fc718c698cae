import pytest

from core.words import are, counted


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
