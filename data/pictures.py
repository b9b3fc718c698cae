"""Images that stay in files until they are needed: which there are, and batches of them read and decoded."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from core.errors import first_line

T = TypeVar("T")
warnings.filterwarnings("ignore", "Palette images with Transparency")  # Pillow's; to drop it is what torchvision does
PLAIN_MODES = ("RGB", "L")  # what every decoder turns into the same RGB; pictures of other modes are converted beforehand


class Unreadable(Exception):
    """Some pictures of a batch cannot be read or decoded."""

    def __init__(self, reasons: dict[int, str]):
        """`reasons` tells, by position in the batch, which file and what is wrong with it."""
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons


@dataclass(frozen=True)
class Encoded:
    """A batch of pictures as files hold them, read into memory."""

    data: list[bytes]  # files as they are where they hold RGB or grey; others rewritten as PPM
    names: list[str]
    height: Tensor  # (B,) int64, in px
    width: Tensor  # (B,) int64

    def __len__(self) -> int:
        return len(self.data)

    def decode_each(self, function: Callable[[int, Image.Image], T]) -> list[T]:
        """`function(position, picture)` of every picture in RGB, in order, in as many threads as torch has.

        Raises:
            Unreadable: some cannot be decoded.
        """

        return _each(lambda position: function(position, _decoded(self.data[position])), self.names)


class Pictures:
    """A set of images, each a file or an array, of any sizes. Nothing is read before `read`.

    Indexing by a slice, an index array or a mask gives a subset, as with an array of images.
    """

    def __init__(self, entries: Sequence[str | Path | NDArray[np.uint8]] | NDArray[np.object_]):
        """`entries` are paths, or (3, H, W) uint8 arrays, which stand among files where a pool is in memory."""
        self._entries = np.empty(len(entries), dtype=object)
        for i, entry in enumerate(entries):  # one by one: numpy would look into arrays of one shape
            self._entries[i] = entry

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, which: slice | NDArray | Tensor) -> "Pictures":
        subset = Pictures.__new__(Pictures)
        subset._entries = self._entries[which.cpu().numpy() if isinstance(which, Tensor) else which]
        return subset

    def joined(self, others: "Pictures | Tensor") -> "Pictures":
        """This set followed by `others`; a tensor is (K, 3, H, W) uint8."""
        more = others._entries if isinstance(others, Pictures) else list(others.cpu().numpy())
        return Pictures([*self._entries, *more])

    def blacked(self, positions: Sequence[int]) -> "Pictures":
        """This set with a black picture at each of `positions`."""
        entries = self._entries.copy()
        for position in positions:
            entries[position] = np.zeros((3, 1, 1), dtype=np.uint8)
        return Pictures(entries)

    def names(self) -> list[str]:
        """A name for each image, for messages."""
        return ["(array)" if isinstance(entry, np.ndarray) else str(entry) for entry in self._entries]

    def read(self) -> Encoded:
        """Reads all images of this set, in as many threads as torch has.

        Raises:
            Unreadable: some files cannot be read, or are no pictures by their first bytes.
        """
        names = self.names()
        read = _each(lambda position: _encoded(self._entries[position]), names)
        height, width = torch.tensor([size for _, size in read], dtype=torch.int64).reshape(-1, 2).unbind(1)
        return Encoded([data for data, _ in read], names, height, width)


class _Damaged(Exception):
    """One picture cannot be read; says why."""


def _encoded(entry: str | Path | NDArray[np.uint8]) -> tuple[bytes, tuple[int, int]]:
    """The bytes of one picture of a plain mode, and its height and width."""
    if isinstance(entry, np.ndarray):
        return _ppm(Image.fromarray(np.ascontiguousarray(entry.transpose(1, 2, 0)))), entry.shape[1:]
    try:
        data = Path(entry).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise _Damaged(error.strerror) from error  # any other error is the system's trouble, not this file's
    with _blaming(data) as picture:
        (width, height), mode = picture.size, picture.mode
    if mode not in PLAIN_MODES:
        data = _ppm(_decoded(data))
    return data, (height, width)


def _decoded(data: bytes) -> Image.Image:
    with _blaming(data) as picture:
        return picture.convert("RGB")


@contextmanager
def _blaming(data: bytes) -> Iterator[Image.Image]:
    """The opened picture; whatever its decoder raises is its fault, but for a lack of memory."""
    try:
        with Image.open(BytesIO(data)) as picture:
            yield picture
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can make a decoder raise anything
        raise _Damaged(first_line(error)) from error


def _ppm(picture: Image.Image) -> bytes:
    """An RGB picture in a form that every decoder reads without loss and at once."""
    buffer = BytesIO()
    picture.save(buffer, "PPM")
    return buffer.getvalue()


def _each(function: Callable[[int], T], names: Sequence[str]) -> list[T]:
    """`function` of every position, in threads: Pillow and the system read and decode without the interpreter's lock."""

    def attempt(position: int) -> T | _Damaged:
        try:
            return function(position)
        except _Damaged as error:
            return error

    results = list(_threads(torch.get_num_threads()).map(attempt, range(len(names))))
    failed = {i: f"{names[i]} ({result})" for i, result in enumerate(results) if isinstance(result, _Damaged)}
    if failed:
        raise Unreadable(failed)
    return [result for result in results if not isinstance(result, _Damaged)]


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="pictures")
