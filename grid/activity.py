"""Epoch, speed and remaining time of a training run, for its lease."""

import time

from run_store.lease import Activity
from training.loop import StepStats
from training.prepare import Training


class TrainingMeter:
    """Counts the steps of a training run. The training loop calls `add`, the thread of the lease calls the object."""

    def __init__(self, training: Training):
        self._training = training
        self._began = self._read = time.monotonic()
        self._first: int | None = None  # work before the first step, of a resumed run that before its epoch
        self._epoch = self._images = self._pixels = 0

    def add(self, step: StepStats) -> None:
        """Counts a step."""
        if self._first is None:
            self._first = self._training.work_before(step.epoch)
        self._epoch = step.epoch + 1
        self._images += step.images
        self._pixels += step.pixels

    def __call__(self) -> Activity:
        """The activity since the last call; the remaining time is proportional to pixels, as view sizes grow."""
        now = time.monotonic()
        images, elapsed, self._images, self._read = self._images, now - self._read, 0, now
        epochs = self._training.epochs
        if self._first is None:
            return Activity("training", epochs=epochs)
        left = max(0, self._training.work_before(epochs) - self._first - self._pixels)
        seconds_left = left * (now - self._began) / max(1, self._pixels)
        return Activity("training", self._epoch, epochs, round(images / max(elapsed, 1e-9), 1), round(seconds_left, 1))
