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


@pytest.mark.parametrize("option", ["splits", "seeds"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1:5", "'1:5' is not a range; did you mean 1-5?"),
        ("1..5", "'1..5' is not a range; did you mean 1-5?"),
        ("1...5", "'1...5' is not a range; did you mean 1-5?"),
        ("1–5", "'1–5' is not a range; did you mean 1-5?"),
        ("0,1:2", "'1:2' is not a range; did you mean 1-2?"),
        ("1.5", "'1.5' is not an integer"),
        ("1:5:2", "'1:5:2' is not an integer"),
        ("5-1", "'5-1' is not a range of 1 to 10000 numbers, such as 1-5"),
    ],
)
def test_numbers_that_are_refused(mistake, option, text, message):
    assert mistake("plan", f"--{option}", text) == f"bench.py: --{option}: {message}"


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


FOLDERS = {  # words after --datasets, and the names they give; the folders `a`, `a,b`, `a,b,c` and `d, e` exist
    "a comma": (["folder:a,b"], ["folder:a,b"]),
    "two commas": (["folder:a,b,c"], ["folder:a,b,c"]),
    "a space": (["folder:d, e"], ["folder:d, e"]),
    "several in one word": (["folder:a,b,folder:d, e,folder:a"], ["folder:a,b", "folder:d, e", "folder:a"]),
    "several words": (["folder:a,b", "digitslt,folder:a"], ["folder:a,b", "digitslt", "folder:a"]),
    "names around it": (["digitslt, Folder:a,b ,cifar10lt"], ["digitslt", "Folder:a,b", "cifar10lt"]),
    "below it": (["folder:a,b/../a,digitslt"], ["folder:a,b/../a", "digitslt"]),
    "home": (["folder:~/a,b,x"], ["folder:~/a,b", "x"]),
    "none such": (["folder:a,x"], ["folder:a", "x"]),
    "no folder at all": (["folder:x,y"], ["folder:x", "y"]),
}


@pytest.mark.parametrize("option", ["datasets", "variants"])
@pytest.mark.parametrize("case", FOLDERS)
def test_paths_of_folders_may_have_commas(tmp_path, monkeypatch, case, option):
    for name in ("a", "a,b", "a,b,c", "d, e"):
        (tmp_path / name).mkdir()
    (tmp_path / "y").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    words, expected = FOLDERS[case]
    assert getattr(parsed(f"--{option}", *words), option) == expected


def test_values_of_set_keep_their_commas():
    assert parsed("--set", "recipe.sizes=16,24").set == ["recipe.sizes=16,24"]
