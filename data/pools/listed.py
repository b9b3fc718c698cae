"""Pools of photographs in files under the data root, named by a published list in the form of the benchmarks' lists."""

from pathlib import Path
from typing import ClassVar

from core.errors import UserError
from data.lists.index_file import Listing, check_listing, check_sum, read_lines, some
from data.lists.missing_files import missing_files
from data.pictures import Pictures
from data.pools.pool import PoolSource
from data.sources.fetch import download, fetch_once


class ListedPool(PoolSource):
    """Kept in files; the SHA-256 is of the list's paths and labels, as the pictures are too many to read them all."""

    folder: ClassVar[str]  # below the data root
    list_url: ClassVar[str]
    list_sha256: ClassVar[str | None] = None  # None where nobody states it
    exact: ClassVar[bool] = True  # whether `count` is known to be the list's length

    def found(self, data_root: Path) -> Path | None:
        """The folder of pictures."""
        folder = data_root / self.folder
        return folder if folder.is_dir() else None

    def load(self, data_root: Path) -> tuple[Pictures, str]:
        """The pictures in the list's order, after a look that all are there."""
        folder = data_root / self.folder
        if not folder.is_dir():
            raise UserError(f"the pool {self.name} needs its pictures in {folder}; put them there, or choose another pool")
        listing = self._listing(data_root / "lists" / self.folder / self.list_url.rsplit("/", 1)[1])
        if missing := missing_files(folder, listing.names):
            count = f"{len(missing):,} of the {len(listing.names):,} pictures of the pool {self.name}"
            raise UserError(f"{count} are not in {folder}: {some(missing)}; restore them, or choose another pool")
        return Pictures([f"{folder}/{name}" for name in listing.names]), listing.sha256()

    def _listing(self, file: Path) -> Listing:
        known = self.list_sha256 and f"sha256:{self.list_sha256}"
        what, otherwise = f"the list of the pool {self.name}", "put the file there, or choose another pool"
        fetch_once(file, lambda: download(what, self.list_url, file, known, check=read_lines, otherwise=otherwise))
        if known:
            check_sum(file, known, what)
        listing = read_lines(file)
        check_listing(listing, None)
        if self.exact and len(listing.names) != self.count:
            raise UserError(f"{file} names {len(listing.names):,} pictures, not {self.count:,}; delete it to fetch it again")
        return listing
