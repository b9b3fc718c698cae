"""Upload of exports to the Hugging Face hub, and download from it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import huggingface_hub

from core.errors import UserError, first_line, is_out_of_memory
from run_store.layout import CONFIG
from run_store.loading import EXPORTED

T = TypeVar("T")
HUB = "hf-hub:"  # prefix of timm for names on the hub


def upload(folder: Path, repository: str, *, private: bool = False) -> str:
    """Uploads an export; returns the address of the repository.

    Args:
        folder: of the export.
        repository: `USER/NAME`; created if it does not exist.
        private: whether a new repository is private.

    Raises:
        UserError: the hub refuses it or cannot be reached.
    """

    def send() -> str:
        address = huggingface_hub.create_repo(repository, private=private, exist_ok=True)
        huggingface_hub.upload_folder(repo_id=repository, folder_path=folder, commit_message="Export of tailbench")
        return str(address)

    return _on_hub(repository, send)


def pull(repository: str) -> Path:
    """Downloads an export into the cache of the hub; returns its folder. Raises UserError like `upload`."""
    return Path(_on_hub(repository, lambda: huggingface_hub.snapshot_download(repository, allow_patterns=[CONFIG, EXPORTED])))


def _on_hub(repository: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except Exception as error:  # of the hub, of its client and of the network: they have no common type
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"{repository} on the Hugging Face hub: {first_line(error)}; check the name, `hf auth whoami` and the network"
        ) from error
