"""OOD pools of image files under the data root, defined by a published index file."""

from pathlib import Path
from typing import ClassVar

from core.errors import UserError
from core.words import are, counted, listed
from data.image_files import ImageFiles
from data.lists.index_file import IndexFile, check_index_file, read_index_file, verify_checksum
from data.lists.missing_files import missing_files
from data.pools.pool import PoolSource
from data.sources.fetch import download, fetch_once


class ListedPool(PoolSource):
    """Pool of image files; its SHA-256 covers paths and labels of the index file, not pixels."""

    folder: ClassVar[str]  # below the data root
    list_url: ClassVar[str]
    list_sha256: ClassVar[str | None] = None  # None if not published
    exact: ClassVar[bool] = True  # whether `count` is the exact length of the index file

    def found(self, data_root: Path) -> Path | None:
        """Returns the image folder."""
        folder = data_root / self.folder
        return folder if folder.is_dir() else None

    def load(self, data_root: Path) -> tuple[ImageFiles, str]:
        """Returns the image files in the order of the index file, after checking that all exist."""
        folder = data_root / self.folder
        if not folder.is_dir():
            raise UserError(f"the pool {self.name} needs its images in {folder}; put them there, or choose another pool")
        index_file = self._index_file(data_root / "lists" / self.folder / self.list_url.rsplit("/", 1)[1])
        if missing := missing_files(folder, index_file.names):
            count = f"{len(missing):,} of the {len(index_file.names):,} images of the pool {self.name}"
            raise UserError(
                f"{count} {are(len(missing))} missing in {folder}: {listed(missing)}; restore them, or choose another pool"
            )
        return ImageFiles([f"{folder}/{name}" for name in index_file.names]), index_file.sha256()

    def _index_file(self, file: Path) -> IndexFile:
        known = self.list_sha256 and f"sha256:{self.list_sha256}"
        what, otherwise = f"the index file of the pool {self.name}", "put the file there, or choose another pool"
        fetch_once(file, lambda: download(what, self.list_url, file, known, check=read_index_file, otherwise=otherwise))
        if known:
            verify_checksum(file, known, what)
        index_file = read_index_file(file)
        check_index_file(index_file, None)
        if self.exact and len(index_file.names) != self.count:
            raise UserError(
                f"{file} lists {counted(len(index_file.names), 'image')}, not {self.count:,}; delete it to download it again"
            )
        return index_file
