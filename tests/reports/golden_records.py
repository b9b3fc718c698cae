"""The records of tests/golden/tables, printed names of their methods, and unfinished runs of the same setting."""

import dataclasses

from reports.tables.states import RunState
from run_store.records import AccuracyRecord
from tests.conftest import GOLDEN
from tests.reports.made import made_record

FOLDER = GOLDEN / "tables"
TITLES = {"simclr": "SimCLR", "byol": "BYOL", "odd_name": "A & B_1 100% | <i>*x*</i>"}


def title(record):
    name = TITLES[record.method]
    return name if record.hparams == {"temperature": 0.2} else f"{name} (temperature={record.hparams['temperature']})"


def state(method="byol", split=3, **changes):
    """An unfinished or failed run of the golden setting."""
    like = made_record(method, split=split)
    names = {field.name for field in dataclasses.fields(RunState)} & set(AccuracyRecord.__struct_fields__)
    given = {name: getattr(like, name) for name in names} | {"run_id": f"lost-{method}-{split}", "data": None, "title": method}
    return RunState(**(given | {"status": "failed", "reason": "CUDA ran out of memory", "probes": None} | changes))


STATES = (
    state(title="BYOL"),
    state("byol", 4, title="BYOL", status="unfinished", reason=""),
    state("colt", 1, title="COLT", status="unfinished", reason="", probes=("knn",)),
)
