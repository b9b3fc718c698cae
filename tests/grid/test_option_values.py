"""Lists of options: words, commas and ranges give the same values."""

import pytest

from bench import app


def parsed(*words: str):
    _, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False)
    return bound.arguments["options"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["1", "2"], [1, 2]),
        (["1,2"], [1, 2]),
        (["1,", "2"], [1, 2]),
        (["1-3"], [1, 2, 3]),
        (["0-1,4", "7"], [0, 1, 4, 7]),
        (["5-5"], [5]),
        (["-1"], [-1]),
        (["+2"], [2]),
    ],
)
@pytest.mark.parametrize("option", ["splits", "seeds"])
def test_numbers(option, words, expected):
    assert getattr(parsed(f"--{option}", *words), option) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["a,b"], ["a", "b"]),
        (["a, b"], ["a", "b"]),
        (["a,", "b"], ["a", "b"]),
        (["ir=10,n=11165"], ["ir=10,n=11165"]),
        (["cao,ir=10,n=11165,ir=50"], ["cao", "ir=10,n=11165", "ir=50"]),
        ([], []),
    ],
)
@pytest.mark.parametrize("option", ["methods", "datasets", "variants", "probes"])
def test_names(option, words, expected):
    assert getattr(parsed(f"--{option}", *words), option) == expected


def test_values_of_set_keep_their_commas():
    assert parsed("--set", "recipe.sizes=16,24").set == ["recipe.sizes=16,24"]
