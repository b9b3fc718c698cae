from dataclasses import dataclass
from typing import Literal

import pytest

from core.errors import UserError
from core.settings import describe, setting, with_changes


class Metres(str):
    """Text that is checked when it is made."""

    form = "NUMBERm"

    def __new__(cls, text: str) -> "Metres":
        float(text.removesuffix("m"))
        if not text.endswith("m"):
            raise ValueError(text)
        return super().__new__(cls, text)


@dataclass(frozen=True)
class Distances:
    length: Metres = setting(Metres("3m"), "a length")
    either: float | Metres = setting(1.0, "a number or a length", low=0.5)
    name: str = setting("a", "any text", low=1)


@dataclass(frozen=True)
class Example:
    rate: float = setting(0.5, "a rate", low=0, high=1)
    count: int = setting(3, "a count", low=1)
    kind: Literal["red", "blue"] = setting("red", "a colour")
    flag: bool = setting(False, "a switch")
    sizes: tuple[int, ...] = setting((1,), "some sizes", low=1)


def test_text_becomes_typed_values():
    text = {"rate": "1e-1", "count": "7", "kind": "blue", "flag": "true", "sizes": "16,24"}
    assert with_changes(Example(), text, "x") == Example(0.1, 7, "blue", True, (16, 24))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rat": "1"}, "x has no setting 'rat'; did you mean 'rate'"),
        ({"count": "2.5"}, "x.count=2.5 is not of type int"),
        ({"rate": "1.5"}, "must be from 0 to 1"),
        ({"rate": "nan"}, "out of range"),
        ({"count": "0"}, "from 1 to 2147483647"),
        ({"kind": "bleu"}, "did you mean 'blue'"),
        ({"flag": "1"}, "use true or false"),
        ({"sizes": "16,0"}, "x.sizes=0 is out of range"),
        ({"sizes": "16;24"}, "not of type int"),
    ],
)
def test_wrong_values_are_reported(changes, message):
    with pytest.raises(UserError, match=message):
        with_changes(Example(), changes, "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 2.5}, "x.count=2.5 is not of type int; see its default in `list`"),
        ({"count": True}, "x.count=True is not of type int; see its default in `list`"),
        ({"count": None}, "x.count=None is not of type int; see its default in `list`"),
        ({"rate": [0.5]}, "x.rate=[0.5] is not of type float; see its default in `list`"),
        ({"rate": float("nan")}, "x.rate=nan is out of range; it must be from 0 to 1"),
        ({"flag": 1}, "x.flag=1 is not a boolean; use true or false"),
        ({"kind": 3}, "x.kind=3 is not one of its values; choose from: blue, red"),
        ({"sizes": [1, "2"]}, "x.sizes=[1, '2'] is not of type int,...; see its default in `list`"),
        ({"sizes": [1, 0]}, "x.sizes=0 is out of range; it must be from 1 to 2147483647"),
        ({"kind": "r\ned"}, "x.kind='r\\ned' has characters that cannot be printed; choose another value or path"),
        ({"kind": "\udcff"}, "x.kind='\\udcff' has characters that cannot be printed; choose another value or path"),
    ],
)
def test_values_of_another_type_are_reported(changes, message):
    with pytest.raises(UserError) as error:
        with_changes(Example(), changes, "x")
    assert str(error.value) == message


def test_values_of_the_declared_type_are_kept():
    changed = with_changes(Example(), {"rate": 1, "sizes": [8, 16], "flag": True}, "x")
    assert (changed.rate, type(changed.rate)) == (1, int)  # run ids depend on it
    assert changed.sizes == (8, 16)
    assert with_changes(Example(), {"rate": ".5", "count": "+7"}, "x") == Example(rate=0.5, count=7)


def test_describe_states_type_default_and_meaning():
    described = describe(Example)
    assert [(s.name, s.type, s.default) for s in described][2:] == [
        ("kind", "red|blue", "red"),
        ("flag", "bool", False),
        ("sizes", "int,...", (1,)),
    ]
    assert described[0].meaning == "a rate"


def test_text_becomes_the_first_type_of_a_union_that_takes_it():
    changed = with_changes(Distances(), {"length": "7m", "either": "2", "name": "b"}, "x")
    assert (changed.length, changed.either, changed.name) == ("7m", 2.0, "b")
    assert (type(changed.length), type(changed.either)) == (Metres, float)
    assert type(with_changes(Distances(), {"either": "2m"}, "x").either) is Metres
    assert type(with_changes(Distances(), {"either": Metres("2m")}, "x").either) is Metres
    assert with_changes(Distances(), {"either": 2.5}, "x").either == 2.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": "7"}, "x.length=7 is not of type NUMBERm; see its default in `list`"),
        ({"length": "am"}, "x.length=am is not of type NUMBERm; see its default in `list`"),
        ({"either": "far"}, "x.either=far is not of the form float|NUMBERm"),
        ({"either": "0.1"}, "x.either=0.1 is out of range; it must be at least 0.5"),
        ({"either": "nan"}, "x.either=nan is out of range; it must be at least 0.5"),
    ],
)
def test_wrong_text_for_a_form_or_a_union_is_reported_in_one_line(changes, message):
    with pytest.raises(UserError) as error:
        with_changes(Distances(), changes, "x")
    assert str(error.value) == message


def test_describe_states_the_form_of_text():
    assert [s.type for s in describe(Distances)] == ["NUMBERm", "float|NUMBERm", "str"]
