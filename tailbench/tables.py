"""Results of runs as a table."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import pandas as pd

from commands.titles import method_title
from core.errors import UserError
from run_store.records import Record, accuracies, read_runs

COLUMNS = {
    "method": "method",
    "benchmark": "dataset",
    "variant": "variant",
    "split": "split",
    "seed": "seed",
    "preset": "preset",
    "probe": "probe",
    "all": "mean",
    "many": "many",
    "medium": "medium",
    "few": "few",
    "std": "group_std",
    "run_id": "run_id",
    "true_labels": "true_labels",
}  # name of a column to the field of a record


def results(out: str | PathLike[str] = "runs") -> pd.DataFrame:
    """Test accuracies in per cent of all runs in a folder, one row per run and probe.

    Columns: method, benchmark, variant, split, seed, preset, probe, all, many, medium, few, std, run_id, true_labels, title. A
    group without classes is NaN; std is over the three groups (ddof 0). true_labels is whether the method is an ablation that
    uses the labels of the training images. title is the method as tables print it, with the hyper-parameters that differ from
    its defaults: rows of one method with different titles are different methods. The method of weights from a file is
    `external`. Rows with different benchmark, variant, preset or probe cannot be compared.

    Args:
        out: folder of runs.

    Raises:
        UserError: the folder does not exist, has no records, or cannot be read.
    """
    folder = Path(out)
    if not folder.is_dir():
        raise UserError(f"folder {folder} does not exist; give the folder of runs")
    records = read_runs(folder)
    if not records:
        raise UserError(f"{folder} has no records; train a method first, or give the folder of runs")
    return table(records)


def table(records: Iterable[Record]) -> pd.DataFrame:
    """The columns of `results` of the accuracy records among `records`."""
    rows = [[*(getattr(record, field) for field in COLUMNS.values()), method_title(record)] for record in accuracies(records)]
    found = pd.DataFrame(rows, columns=[*COLUMNS, "title"])
    numbers = ["all", "many", "medium", "few", "std"]
    return found.astype(dict.fromkeys(numbers, "float64") | {"true_labels": "bool"})
