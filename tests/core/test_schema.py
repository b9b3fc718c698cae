"""Typed reading of JSON, and reading of regular files only."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import UserError
from core.files import NotRegularFileError, read_bytes, read_text
from core.schema import Count, InvalidData, Percent, decode, encode, read_json


@dataclass(frozen=True, kw_only=True)
class Base:
    name: str
    counts: tuple[Count, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    level: Percent
    more: dict[str, float | None] | None = None


VALID = b'{"name": "a", "level": 5, "counts": [1, 2], "more": {"x": null, "y": 1.5}, "unknown": 1}'


def test_json_becomes_a_dataclass():
    assert decode(VALID, Derived) == Derived(name="a", level=5.0, counts=(1, 2), more={"x": None, "y": 1.5})
    assert decode(b'{"name": "a", "level": 0}', Derived) == Derived(name="a", level=0.0)


@pytest.mark.parametrize(
    ("valid", "changed", "message"),
    [
        (b'"a"', b"1", "Expected `str`, got `int` - at `$.name`"),
        (b'"a"', b'"\\ud800"', "surrogate"),
        (b'"a"', b'"\xff"', "can't decode byte 0xff"),
        (b'"name"', b'"nome"', "missing required field `name`"),
        (b"5", b"NaN", "JSON is malformed"),
        (b"5", b"1e999", "out of range"),
        (b"5", b"100.5", "at `$.level`"),
        (b"5", b"true", "Expected `float`, got `bool` - at `$.level`"),
        (b"2]", b"2.5]", "Expected `int`, got `float` - at `$.counts[1]`"),
        (b"2]", b"-2]", "at `$.counts[1]`"),
        (b"2]", b"9" * 30 + b"]", "at `$.counts[1]`"),
        (b"1.5", b'"1.5"', "at `$.more[...]`"),
        (b"1.5", b"[" * 200_000, "Expected `float | null`, got `array`"),
        (b'"unknown": 1', b'"unknown": ' + b"[" * 200_000, "nested too deeply"),
        (b"}}", b"", "truncated"),
        (VALID, b"", "truncated"),
        (VALID, b"[]", "Expected `object`, got `array`"),
    ],
)
def test_the_error_gives_reason_place_and_advice(tmp_path, valid, changed, message):
    file = tmp_path / "facts.json"
    file.write_bytes(VALID.replace(valid, changed) if changed or valid == VALID else VALID[:-3])
    with pytest.raises(InvalidData) as error:
        read_json(file, Derived, "restore it")
    text = str(error.value)
    assert message in text
    assert text.startswith(f"{file} is damaged (")
    assert text.endswith("); restore it")
    assert len(text.splitlines()) == 1


def test_numbers_that_are_not_finite_are_written_as_null():
    assert encode({"loss": float("nan"), "lr": float("inf"), "epoch": 1}) == b'{"loss":null,"lr":null,"epoch":1}'


def _fifo(file: Path) -> None:
    os.mkfifo(file)


def _socket(file: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(os.path.relpath(file))  # absolute paths may be too long for a socket


@pytest.mark.parametrize(
    ("make", "raised"),
    [
        (_fifo, NotRegularFileError),
        (_socket, NotRegularFileError),
        (lambda file: file.symlink_to("/dev/zero"), NotRegularFileError),
        (Path.mkdir, IsADirectoryError),
        (lambda file: file.symlink_to("nowhere"), FileNotFoundError),
    ],
)
def test_only_regular_files_are_read(tmp_path, make, raised):
    file = tmp_path / "facts.json"
    make(file)
    with pytest.raises(raised):
        read_bytes(file)
    with pytest.raises(UserError, match="is damaged"):
        read_json(file, Derived, "restore it")


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"caf\xe9")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link") == b"caf\xe9"
    assert read_text(tmp_path / "link") == "caf\ufffd"
