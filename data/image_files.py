"""Sets of image files, also in tar archives, read and decoded in batches on demand."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from core.errors import first_line
from core.files import NotRegularFileError
from data.rgb import NoRangeError, check_mode, to_rgb
from data.tar_members import opened, read_bytes

T = TypeVar("T")
warnings.filterwarnings("ignore", "Palette images with Transparency")  # from Pillow; torchvision drops transparency too
PLAIN_MODES = ("RGB", "L")  # Pillow modes that every decoder converts to the same RGB; others are converted on reading
RESTORE, CONVERT, SHRINK = "restore", "convert", "scale down"  # what to do about a file: damaged, of an undefined range, huge
LAST_BYTES = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # of a complete file, by Pillow's format


class Unreadable(Exception):
    """Files of a batch cannot be read or decoded."""

    def __init__(self, reasons: dict[int, str], remedy: str = RESTORE):
        """`reasons` maps a position in the batch to the file name and the error; `remedy` is a verb, what to do about them."""
        super().__init__("; ".join(reasons.values()))
        self.reasons = reasons
        self.remedy = remedy

    def __reduce__(self) -> tuple[type, tuple]:
        return Unreadable, (self.reasons, self.remedy)


@dataclass(frozen=True)
class Encoded:
    """The encoded bytes of a batch of image files."""

    data: list[bytes]  # unchanged file contents for RGB and grey images; others re-encoded as PPM
    names: list[str]
    height: Tensor  # (B,) int64, in px
    width: Tensor  # (B,) int64

    def __len__(self) -> int:
        return len(self.data)

    def decode_each(self, function: Callable[[int, Image.Image], T]) -> list[T]:
        """Returns `function(position, image)` for every image in RGB, in order, on torch's number of threads.

        Raises:
            Unreadable: files cannot be decoded.
        """
        return _map_in_threads(lambda position: function(position, _decoded(self.data[position])), self.names)


class ImageFiles:
    """An indexable set of images of any sizes, each a file, a member of a tar archive or an array; files are read by `read`.

    Indexing by a slice, an index array or a mask returns a subset, as with an array of images.
    """

    def __init__(self, entries: Sequence[str | Path | NDArray[np.uint8]] | NDArray[np.object_]):
        """`entries` are paths or (3, H, W) uint8 arrays; the latter come from OOD pools in memory."""
        self._entries = np.empty(len(entries), dtype=object)
        for i, entry in enumerate(entries):  # one by one: numpy would stack arrays of equal shape
            self._entries[i] = entry

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, which: slice | NDArray | Tensor) -> "ImageFiles":
        subset = ImageFiles.__new__(ImageFiles)
        subset._entries = self._entries[which.cpu().numpy() if isinstance(which, Tensor) else which]
        return subset

    def concatenate(self, others: "ImageFiles | Tensor") -> "ImageFiles":
        """Returns this set followed by `others`; a tensor is (K, 3, H, W) uint8."""
        more = others._entries if isinstance(others, ImageFiles) else list(others.cpu().numpy())
        return ImageFiles([*self._entries, *more])

    def with_black(self, positions: Sequence[int]) -> "ImageFiles":
        """Returns this set with black images at `positions`."""
        entries = self._entries.copy()
        for position in positions:
            entries[position] = np.zeros((3, 1, 1), dtype=np.uint8)
        return ImageFiles(entries)

    def names(self) -> list[str]:
        """Path of each image, for messages; "(array)" for arrays."""
        return ["(array)" if isinstance(entry, np.ndarray) else str(entry) for entry in self._entries]

    def read(self) -> Encoded:
        """Reads all images of this set on torch's number of threads.

        Raises:
            Unreadable: files cannot be read, or have no valid image header.
        """
        names = self.names()
        read = _map_in_threads(lambda position: _encoded(self._entries[position]), names)
        height, width = torch.tensor([size for _, size in read], dtype=torch.int64).reshape(-1, 2).unbind(1)
        return Encoded([data for data, _ in read], names, height, width)


def check_files(paths: Sequence[str]) -> None:
    """Raises Unreadable for files without a valid image header, truncated files, and modes without a defined range.

    JPEG, PNG and WebP files are decoded only if they do not end as complete ones do, so that damage within the pixels is not
    found; files of other formats are decoded.
    """

    def check(position: int) -> None:
        try:
            with opened(paths[position]) as file, Image.open(file) as image:
                check_mode(image.mode)
                if not _ends_as_its_format(file, image.format):
                    _load(image)
        except (MemoryError, _DecodeError):
            raise
        except NoRangeError as error:
            raise _DecodeError(str(error), CONVERT) from error
        except Image.DecompressionBombError as error:
            raise _DecodeError(first_line(error), SHRINK) from error
        except Exception as error:  # decoders raise arbitrary exceptions for damaged files
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not an image"
            raise _DecodeError(reason) from error

    _map_in_threads(check, paths)


def _load(image: Image.Image) -> None:
    """Decodes an image."""
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise arbitrary exceptions for damaged files
        raise _DecodeError("truncated or damaged") from error


def _ends_as_its_format(file: IO[bytes], image_format: str | None) -> bool:
    """Whether a file ends as a complete one of its format; False for other formats than JPEG, PNG and WebP.

    Keeps the position in the file.
    """
    position, size = file.tell(), file.seek(0, SEEK_END)
    last = LAST_BYTES.get(image_format or "", b"")
    try:
        if image_format == "WEBP":
            file.seek(4)
            return int.from_bytes(file.read(4), "little") + 8 <= size
        file.seek(max(0, size - len(last)))
        return bool(last) and file.read() == last
    finally:
        file.seek(position)


class _DecodeError(Exception):
    """One file cannot be read or decoded."""

    def __init__(self, reason: str, remedy: str = RESTORE):
        super().__init__(reason)
        self.remedy = remedy


def _encoded(entry: str | Path | NDArray[np.uint8]) -> tuple[bytes, tuple[int, int]]:
    """Encoded bytes of one image in a plain mode, and its height and width in px."""
    if isinstance(entry, np.ndarray):
        return _ppm(Image.fromarray(np.ascontiguousarray(entry.transpose(1, 2, 0)))), entry.shape[1:]
    try:
        data = read_bytes(str(entry))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, NotRegularFileError) as error:
        raise _DecodeError(error.strerror or first_line(error)) from error  # other OS errors do not concern this file alone
    with _opened(data) as image:
        (width, height), mode = image.size, image.mode
    if mode not in PLAIN_MODES:
        data = _ppm(_decoded(data))
    return data, (height, width)


def _decoded(data: bytes) -> Image.Image:
    with _opened(data) as image:
        return to_rgb(image)


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Opens an image; raises _DecodeError for any decoder error except MemoryError."""
    try:
        with Image.open(BytesIO(data)) as image:
            yield image
    except MemoryError:
        raise
    except NoRangeError as error:
        raise _DecodeError(str(error), CONVERT) from error
    except Image.DecompressionBombError as error:
        raise _DecodeError(first_line(error), SHRINK) from error
    except Exception as error:  # decoders raise arbitrary exceptions for damaged files
        raise _DecodeError(first_line(error)) from error


def _ppm(image: Image.Image) -> bytes:
    """Encodes an RGB image as PPM: lossless, and read by every decoder without computation."""
    buffer = BytesIO()
    image.save(buffer, "PPM")
    return buffer.getvalue()


def _map_in_threads(function: Callable[[int], T], names: Sequence[str]) -> list[T]:
    """Returns `function(position)` for every position; threads suffice, as Pillow decodes without the GIL."""

    def attempt(position: int) -> T | _DecodeError:
        try:
            return function(position)
        except _DecodeError as error:
            return error

    results = list(_threads(torch.get_num_threads()).map(attempt, range(len(names))))
    failed = {i: result for i, result in enumerate(results) if isinstance(result, _DecodeError)}
    if failed:
        remedies = {error.remedy for error in failed.values()}
        raise Unreadable({i: f"{names[i]} ({error})" for i, error in failed.items()}, " or ".join(sorted(remedies)))
    return [result for result in results if not isinstance(result, _DecodeError)]


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="decode")
