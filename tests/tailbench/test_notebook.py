"""The notebook in docs runs, and is stored without outputs."""

import os

import nbclient
import nbformat
import pytest

from tests.conftest import DEADLINE, ROOT

FILE = ROOT / "docs" / "tailbench.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(FILE, as_version=4)


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _text(cell):
    """Results and standard output of a cell."""
    printed = [output.text for output in cell.outputs if output.get("name") == "stdout"]
    return "".join(printed + [output.data["text/plain"] for output in cell.outputs if "data" in output])


def test_it_is_stored_without_outputs(notebook):
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in _code(notebook))
    assert nbformat.writes(notebook) == FILE.read_text().rstrip("\n")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the kernel's client
def test_it_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # in the place of an installation
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    before = sorted(os.listdir(ROOT))
    nbclient.NotebookClient(notebook, timeout=DEADLINE, resources={"metadata": {"path": tmp_path}}).execute()
    *_, table, message, _ = (_text(cell) for cell in _code(notebook))
    assert "simclr" in table
    assert "sdclr" in table
    assert "did you mean 'epochs'?" in message
    assert sorted(os.listdir(ROOT)) == before
