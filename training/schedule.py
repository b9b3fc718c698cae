"""Learning rate and view size as functions of step and epoch."""

import math
from collections.abc import Sequence


def learning_rate(step: int, steps: int, warmup: int, peak: float, final: float, form: str = "cosine") -> float:
    """Linear warm-up from 0, then cosine or linear decay, per optimiser step.

    VITA-Group/SDCLR (`train_simCLR.py`) steps the scheduler before the optimiser, so that the first update uses the second
    value of the schedule; accordingly, the first update of a run is step 1.

    Args:
        step: number of the update, from 1 to `steps`.
        steps: updates of the whole run.
        warmup: updates of the warm-up.
        peak: learning rate at the end of the warm-up.
        final: learning rate of the last update.
        form: "cosine" or "linear" decay from `peak` to `final`.
    """
    if step < warmup:
        return peak * step / warmup
    fraction = (step - warmup) / max(steps - warmup, 1)
    decay = 1 - fraction if form == "linear" else 0.5 * (1 + math.cos(math.pi * fraction))
    return final + (peak - final) * decay


def view_size(epoch: int, epochs: int, sizes: Sequence[int]) -> int:
    """View size in px of epoch `epoch` (from 0): each of `sizes` is used for an equal fraction of the epochs, in order."""
    return sizes[epoch * len(sizes) // epochs]
