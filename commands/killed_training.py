"""Training of a run in processes that end by SIGKILL at one of four places, from which the next process resumes.

1. in the middle of the first epoch, after a checkpoint in that epoch;
2. between a line of the log and the checkpoint that follows it;
3. after the first step of the next epoch, whose `on_epoch_start` is then repeated;
4. in the middle of the last epoch, after a checkpoint in that epoch.
"""

import json
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import UserError
from core.files import read_text
from grid.execute import pool_of_run, prepare_run
from grid.plan import Plan
from run_store.layout import CHECKPOINT, LOG
from training.checkpoint import Progress, has_checkpoint, read_latest
from training.device import use_device, use_threads
from training.loop import Diverged, StepStats, train
from training.prepare import Training
from training.state import state_tensors, unsaved_state

PLACES = 4
HEAVY = ["torch", "timm", "sklearn.cluster"]  # imported once: a process then starts in 0.3 s instead of 6 s
OUTCOME = "outcome.pt"


@dataclass(frozen=True)
class Outcome:
    """What a completed run leaves."""

    tensors: dict[str, Tensor]  # of the method, the tail scores and the optimiser, by name
    log: list[dict[str, Any]]  # lines of the log
    unsaved: list[str]  # attributes of the method that training changed and a checkpoint does not store


class Failed(Exception):
    """Training ended by an error."""


def train_in_process(plan: Plan, number: int, folder: Path, place: int | None) -> int:
    """Trains a run, from its checkpoint in `folder` if there is one, in a new process.

    Args:
        plan: the runs.
        number: index of the run.
        folder: of checkpoint, log and outcome.
        place: where the process is killed, from 0; None: the run is completed.

    Returns:
        Number of completed steps of the run when the process ended.

    Raises:
        Failed: training ended by an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(plan, number, folder, place, sender), daemon=True)
    process.start()
    sender.close()
    message = None
    try:
        message = receiver.recv()
    except EOFError:  # the process has ended without a message
        pass
    except BaseException:  # Ctrl-C
        process.kill()
        raise
    finally:
        receiver.close()
        process.join()
    if isinstance(message, str):
        raise Failed(message)
    if message is None or process.exitcode != (0 if place is None else -signal.SIGKILL):
        raise Failed(f"its process ended with exit status {process.exitcode}")
    return message


def _work(plan: Plan, number: int, folder: Path, place: int | None, pipe: Connection) -> None:
    """Main function of a process: sends the number of completed steps when it ends, or the reason of a failure."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    use_threads(plan.parallelism[1])
    use_device(plan.device)
    try:
        config = plan.runs[number].config
        dataset = config.dataset
        split = plan.data.split(dataset, config.profile, config.split, plan.needs(dataset))
        training = prepare_run(config, split, pool_of_run(config, plan.data.root), plan.device)
        before = unsaved_state(training.method)
        killer = _Killer(training, folder, place, pipe)
        train(training, folder / CHECKPOINT, folder / LOG, killer.on_step, checkpoint_seconds=0)
    except Exception as error:
        known = isinstance(error, UserError | Diverged)
        if not known:
            traceback.print_exc()
        pipe.send(str(error) if known else f"{type(error).__name__}: {error}")
        return
    after = unsaved_state(training.method)
    changed = [name for name, value in after.items() if before.get(name) != value]
    torch.save({"tensors": state_tensors(training), "unsaved": changed}, folder / OUTCOME)
    pipe.send(training.steps_before[-1])


class _Killer:
    """Kills this process by SIGKILL at one of the places."""

    def __init__(self, training: Training, folder: Path, place: int | None, pipe: Connection):
        """`place` counts from 0; None: nowhere."""
        self._training, self._place, self._pipe = training, place, pipe
        self._checkpoint, self._log = folder / CHECKPOINT, folder / LOG
        self._done = 0  # steps of the run, those of earlier processes included
        self._epoch = training.epochs // 2  # whose beginning the second and third place precede and follow
        if has_checkpoint(self._checkpoint):
            self._done = training.steps_before[self._progress().epoch] + self._progress().step
        if place == 1:
            sys.addaudithook(self._on_event)  # `os.rename` comes before the file is renamed

    def on_step(self, step: StepStats) -> None:
        """The callback of `train`."""
        self._done += 1
        before = self._training.steps_before
        if self._place in (0, 3):
            epoch = 0 if self._place == 0 else self._training.epochs - 1
            middle, last = before[epoch] + self._training.steps(epoch) // 2 + 1, before[epoch + 1]
            if self._done >= last or (self._done >= middle and self._saved_in(epoch)):
                self._kill()
        elif self._place == 2 and self._done > before[self._epoch]:
            self._kill()

    def _on_event(self, event: str, arguments: tuple) -> None:
        if event == "os.rename" and Path(os.fsdecode(arguments[1])) == self._checkpoint:
            lines = self._log.read_text(encoding="utf-8").splitlines()
            if len(lines) >= self._epoch:
                self._kill()

    def _saved_in(self, epoch: int) -> bool:
        """Whether the checkpoint is of the middle of an epoch; waits a little if it is not, as a thread may be saving one."""
        if has_checkpoint(self._checkpoint) and self._progress().epoch == epoch and self._progress().step > 0:
            return True
        time.sleep(0.05)
        return False

    def _progress(self) -> Progress:
        return read_latest(self._checkpoint, self._training.config.run_id)[1]["progress"]

    def _kill(self) -> None:
        self._pipe.send(self._done)
        os.kill(os.getpid(), signal.SIGKILL)


def read_outcome(folder: Path) -> Outcome:
    """Reads the outcome of a run that was completed in `folder`."""
    content = torch.load(folder / OUTCOME, weights_only=True)
    log = [json.loads(line) for line in read_text(folder / LOG).splitlines()]
    return Outcome(content["tensors"], log, content["unsaved"])
