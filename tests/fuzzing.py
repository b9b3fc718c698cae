"""Seeded mutations of the content of files, for tests of everything that is parsed."""

import random
from collections.abc import Callable, Iterator
from itertools import pairwise

HOSTILE = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1e400", b"1e-400", b"9" * 400, b"9" * 5000, b"-1", b"0", b"2.5", b"4294967296"),
    *(b"18446744073709551616", b"1_000", b"+1", b"0x10", b"true", b"null", b'""', b'"x"', b'"nan"', b"[]", b"[[1]]", b"{}"),
    *(b'{"a": {}}', b'"\\ud800"', b'"\\udcff"', b'"\xff\xfe"', b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"\x00"),
    *(b"\n", b"\r\n", b",", b'"', b"\\", b"}", b"]"),
)
NESTED = 200_000


def mutate(content: bytes, stream: random.Random) -> bytes:
    """One to three random changes of `content`: bits, bytes, cuts, swaps, duplicates and values of other types."""
    for _ in range(stream.choice((1, 1, 1, 2, 3))):
        content = stream.choice(MUTATIONS)(content, stream)
    return content


def _flip(content: bytes, stream: random.Random) -> bytes:
    if not content:
        return b"\x01"
    changed = bytearray(content)
    changed[stream.randrange(len(content))] ^= 1 << stream.randrange(8)
    return bytes(changed)


def _insert(content: bytes, stream: random.Random) -> bytes:
    place = stream.randint(0, len(content))
    return content[:place] + stream.choice((stream.choice(HOSTILE), stream.randbytes(stream.randint(1, 8)))) + content[place:]


def _cut(content: bytes, stream: random.Random) -> bytes:
    start, end = sorted((stream.randint(0, len(content)), stream.randint(0, len(content))))
    return stream.choice((content[:start], content[start:], content[:start] + content[end:]))


def _duplicate(content: bytes, stream: random.Random) -> bytes:
    """A part twice: a repeated key, line or member of an archive."""
    start = stream.randint(0, len(content))
    end = min(len(content), start + stream.randint(1, 80))
    return content[:end] + content[start:]


def _tokens(content: bytes) -> list[tuple[int, int]]:
    """Start and end of the values in JSON, CSV or other text."""
    edges = [i for i, byte in enumerate(content[:20_000]) if byte in b' ,:[]{}"\n=']
    return list(pairwise(edges)) or [(0, len(content))]


def _replace(content: bytes, stream: random.Random) -> bytes:
    """A value becomes one of another type."""
    start, end = stream.choice(_tokens(content))
    return content[: start + 1] + stream.choice(HOSTILE) + content[end:]


def _swap(content: bytes, stream: random.Random) -> bytes:
    tokens = _tokens(content)
    (a, b), (c, d) = sorted((stream.choice(tokens), stream.choice(tokens)))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:] if b <= c else content


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _insert, _cut, _duplicate, _replace, _replace, _swap)


def extremes(content: bytes) -> Iterator[bytes]:
    """Inputs that break parsers: empty, deeply nested in place of the whole and of values, other encodings."""
    yield from (b"", b" ", b"\n", b"null", b"[]", b"{}", b"0", b'""', b"\xff" * 100, b"\x00" * 1000)
    yield from (content + b"\x00", content * 2)
    yield content.decode(errors="replace").encode("utf-16")
    for opened in (b"[", b'{"a":', b'{"counts":', b"("):
        yield opened * NESTED
        yield opened * NESTED + content
    for start, end in _tokens(content)[:: max(1, len(_tokens(content)) // 5)]:
        yield content[: start + 1] + b"[" * NESTED + content[end:]
        yield content[: start + 1] + b"9" * NESTED + content[end:]
