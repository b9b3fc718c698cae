"""Fixture: a data root with a small folder of photographs."""

import pytest

from tests.folders import make_folder


@pytest.fixture
def root(tmp_path, photographs):
    """A data root with a `folderlt`."""
    make_folder(tmp_path / "folderlt", photographs)
    return tmp_path
