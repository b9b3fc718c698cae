"""Probing of runs, files of weights and networks in memory."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from core.errors import UserError
from grid.options import check_names
from probing.probe_path import probe_module, probe_path
from probing.selection import select_probes
from run_store.layout import RESULTS
from run_store.records import read_records
from tailbench.runs import Run, path_of
from tailbench.tables import table


def probe(
    model: Run | nn.Module | str | PathLike[str],
    dataset: str | None = None,
    *,
    variant: str | None = None,
    profile: str | None = None,
    split: int | None = None,
    probes: str | Sequence[str] = (),
    backbone: str | None = None,
    key: str | None = None,
    prefix: str | None = None,
    device: str = "auto",
    views: str = "auto",
    data_root: str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
) -> pd.DataFrame:
    """Probes a frozen network on a benchmark, like `bench.py probe`.

    Records of a run or a file of weights are written to their folder, and probes that have a record are not repeated. A network
    in memory is copied, probed in float32 under the benchmark's evaluation transform, and nothing is written.

    Args:
        model: a run, its folder, a file of weights, or a network, (B, 3, S, S) to (B, d).
        dataset: registered name of a benchmark; None: that of the run, or cifar10lt.
        variant: long-tailed variant; None: that of the run on its own benchmark, else the first.
        profile: earlier name of `variant`.
        split: from 1; None: that of the run on its own benchmark, else 1.
        probes: names or globs; none: the default probes.
        backbone: network of a file of weights, by its name in this suite or in timm.
        key: key of the state dict, in a file that holds several.
        prefix: prefix of the backbone's parameter names, in a file that holds several networks.
        device: auto, cpu, cuda or cuda:N.
        views: augmentation backend.
        data_root: folder of the data sets; None: the user's cache folder.
        out: folder of runs; None: the parent of the run folder, or runs.

    Returns:
        Accuracies with the columns of `results`, one row per probe.

    Raises:
        UserError: invalid options, weights or data.
    """
    chosen = profile if variant is None else variant
    names = [probes] if isinstance(probes, str) else list(probes)
    check_names(None, [] if dataset is None else [dataset], names)
    given: dict[str, Any] = {
        "datasets": [] if dataset is None else [dataset],
        "variants": [] if chosen is None else [chosen],
        "splits": [] if split is None else [split],
        "probes": names,
        "device": device,
        "views": views,
        "data_root": None if data_root is None else Path(data_root),
    }
    if isinstance(model, nn.Module):
        if any(option is not None for option in (backbone, key, prefix, out)):
            raise UserError("backbone, key, prefix and out have no effect on a network in memory; omit them")
        records = probe_module(model, **given)
    else:
        where = None if out is None else Path(out)
        probed = probe_path(path_of(model), **given, backbone=backbone, key=key, prefix=prefix, out=where)
        records = read_records(folder / RESULTS for folder, _ in probed)
    selected = select_probes(names)
    return table(record for record in records if record.probe in selected)
