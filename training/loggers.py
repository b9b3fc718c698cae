"""Scalars of each epoch in TensorBoard, Weights & Biases, MLflow or a CSV file, beside the log of the run.

The packages are optional and imported only when a logger is used. What they write never affects a run: `log.jsonl` is what
the suite reads.
"""

import csv
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.errors import UserError, first_line
from core.files import write_text
from core.schema import decode
from training.config import RunConfig
from training.log import log_lines

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow", "csv": ""}  # by logger; csv needs none
PROJECT = "tailbench"  # project of Weights & Biases, experiment of MLflow


class Logger(Protocol):
    """Receives the scalars of each epoch."""

    def log(self, epoch: int, scalars: Mapping[str, float]) -> None:
        """`epoch` counts from 1."""

    def close(self, complete: bool) -> None:
        """Called when training ends (`complete`), stops or fails."""


def check_loggers(names: Sequence[str]) -> None:
    """Raises UserError for an unknown logger, or if its package is missing."""
    for name in names:
        if name not in PACKAGES:
            raise UserError(f"--log {name}: choose from {', '.join(PACKAGES)}")
        package = PACKAGES[name]
        if package and importlib.util.find_spec(package) is None:
            raise UserError(f"--log {name} needs the package {package}: pip install {package}")


@contextmanager
def open_loggers(
    names: Sequence[str], folder: Path, log_file: Path, config: RunConfig
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """The loggers of a run, which write to its folder or their service, as one function of epoch (from 1) and scalars.

    A logger that fails gets no more scalars, and the failure is logged as a warning.

    Args:
        names: keys of PACKAGES.
        folder: of the run.
        log_file: its `log.jsonl`.
        config: of the run.
    """
    loggers: dict[str, Logger] = {}

    def log_scalars(epoch: int, scalars: Mapping[str, float]) -> None:
        for name, logger in list(loggers.items()):
            with _failure_reported(name):
                logger.log(epoch, scalars)
                continue
            del loggers[name]

    def close(name: str, logger: Logger, kind: type[BaseException] | None) -> None:
        with _failure_reported(name):
            logger.close(complete=kind is None)

    with ExitStack() as stack:
        for name in names:
            with _failure_reported(name):
                loggers[name] = _open(name, folder, log_file, config)
                stack.push(lambda kind, error, trace, name=name, logger=loggers[name]: close(name, logger, kind))
        yield log_scalars


@contextmanager
def _failure_reported(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of the service, the network or the disk
        log.warning("--log %s: %s; training continues without it", name, first_line(error))


def scalars(line: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The finite numbers of a line of the log, nested ones as `tail/auroc`, without the epoch."""
    found: dict[str, float] = {}
    for key, value in line.items():
        if isinstance(value, Mapping):
            found |= scalars(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0 and key != "epoch":
            found[prefix + key] = float(value)
    return found


def _open(name: str, folder: Path, log_file: Path, config: RunConfig) -> Logger:
    if name == "csv":
        return _Csv(folder / "metrics.csv", log_file)
    if name == "tensorboard":
        return _TensorBoard(folder / "tensorboard")
    return (_WeightsAndBiases if name == "wandb" else _MLflow)(folder, config)


class _Csv:
    """`metrics.csv` in the run folder, written from the log when training ends or stops."""

    def __init__(self, file: Path, source: Path):
        self._file, self._source = file, source

    def log(self, epoch: int, scalars: Mapping[str, float]) -> None:
        pass

    def close(self, complete: bool) -> None:
        lines = [decode(text, dict[str, Any]) for text in log_lines(self._source)]
        rows = [{"epoch": line["epoch"], **scalars(line)} for line in lines]
        text = StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self._file, text.getvalue())


class _TensorBoard:
    """Event files in `tensorboard/` of the run folder; a resumed run hides the events of the epochs that it repeats."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def log(self, epoch: int, scalars: Mapping[str, float]) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=epoch)
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def close(self, complete: bool) -> None:
        if self._writer is not None:
            self._writer.close()


class _WeightsAndBiases:
    """A run of Weights & Biases with the run's id, which a resumed run continues."""

    def __init__(self, folder: Path, config: RunConfig):
        import wandb

        self._run = wandb.init(
            project=PROJECT, id=config.run_id, name=config.label, config=config.to_json(), dir=str(folder), resume="allow"
        )

    def log(self, epoch: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=epoch)

    def close(self, complete: bool) -> None:
        self._run.finish(exit_code=0 if complete else 1)


class _MLflow:
    """A run of MLflow in the experiment `tailbench`; a resumed run starts another one with the same tag `run_id`."""

    def __init__(self, folder: Path, config: RunConfig):
        import mlflow

        self._mlflow = mlflow
        mlflow.set_experiment(PROJECT)
        mlflow.start_run(run_name=config.label, tags={"run_id": config.run_id})
        try:
            mlflow.log_params({name: str(value) for name, value in config.to_json().items()})
        except Exception:
            mlflow.end_run("FAILED")  # an active run would prevent the next one of this process
            raise

    def log(self, epoch: int, scalars: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(scalars), step=epoch)

    def close(self, complete: bool) -> None:
        self._mlflow.end_run("FINISHED" if complete else "FAILED")
