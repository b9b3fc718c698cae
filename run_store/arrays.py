"""Small files of arrays beside a run, read whole or not at all."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` file by name. Raises ValueError, naming the file, for one that is absent or damaged."""
    try:
        # from memory: of a damaged file that it opened itself, numpy leaves the handle to the garbage collector
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as content:
            return dict(content)
    except Exception as error:  # numpy, zipfile and zlib have no common error
        raise ValueError(f"{file} is damaged ({error})") from error
