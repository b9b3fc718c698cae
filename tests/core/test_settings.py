from dataclasses import dataclass
from typing import Literal

import pytest

from core.errors import UserError
from core.settings import describe, setting, with_changes


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
        ({"count": "0"}, "at least 1"),
        ({"kind": "bleu"}, "did you mean 'blue'"),
        ({"flag": "1"}, "write true or false"),
        ({"sizes": "16,0"}, "x.sizes=0 is out of range"),
        ({"sizes": "16;24"}, "not of type int"),
    ],
)
def test_wrong_values_are_told(changes, message):
    with pytest.raises(UserError, match=message):
        with_changes(Example(), changes, "x")


def test_describe_tells_type_default_and_meaning():
    described = describe(Example)
    assert [(s.name, s.type, s.default) for s in described][2:] == [
        ("kind", "red|blue", "red"),
        ("flag", "bool", False),
        ("sizes", "int,...", (1,)),
    ]
    assert described[0].meaning == "a rate"
