"""The golden records as fixtures."""

import pytest

from run_store.layout import RESULTS
from run_store.records import accuracies, read_records
from tests.reports.golden_records import FOLDER


@pytest.fixture(scope="session")
def records():
    return read_records([FOLDER / RESULTS])


@pytest.fixture(scope="session")
def accurate(records):
    return accuracies(records)
