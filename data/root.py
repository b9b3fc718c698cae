"""The data root: folder of data sets, index lists and OOD pools."""

from pathlib import Path

from platformdirs import user_cache_path

from core.files import expand_user


def data_folder(wanted: Path | None) -> Path:
    """Absolute path of the data root: `wanted`, else a folder in the platform's user cache directory."""
    return expand_user(wanted or user_cache_path("tailbench") / "data").absolute()
