"""Build backend: that of setuptools for `pip install -e .`; other installations fail before anything is downloaded.

The packages of the suite have general names such as `data` and `eval`, which must not be copied into site-packages.
"""

from typing import Any, NoReturn

from setuptools import build_meta

build_editable = build_meta.build_editable
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """Requirements beyond those in `pyproject.toml`: none."""
    return []


def refuse(*arguments: Any, **options: Any) -> NoReturn:
    """Ends any other build with one line."""
    raise SystemExit("tailbench is used from its checkout; install it in editable mode: pip install -e FOLDER")


get_requires_for_build_wheel = build_wheel = get_requires_for_build_sdist = build_sdist = refuse
