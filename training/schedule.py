"""Learning rate and view size as functions of where the run is."""

import math
from collections.abc import Sequence


def learning_rate(step: int, steps: int, warmup: int, peak: float, final: float, form: str = "cosine") -> float:
    """Linear warm-up from 0, then a half cosine or a straight line down, per optimiser step.

    The scheduler of VITA-Group/SDCLR (`train_simCLR.py`) is advanced before the optimiser, so its first update already uses
    the schedule's second value; `step` counts accordingly: the first update of a run is step 1.

    Args:
        step: number of the update, from 1 to `steps`.
        steps: updates of the whole run.
        warmup: updates of the warm-up.
        peak: rate at the end of the warm-up.
        final: rate at the last update.
        form: "cosine" or "linear", the way from `peak` to `final`.
    """
    if step < warmup:
        return peak * step / warmup
    share = (step - warmup) / max(steps - warmup, 1)
    left = 1 - share if form == "linear" else 0.5 * (1 + math.cos(math.pi * share))
    return final + (peak - final) * left


def view_size(epoch: int, epochs: int, sizes: Sequence[int]) -> int:
    """Side of the views in epoch `epoch` (from 0): each size serves an equal share of the epochs, in order."""
    return sizes[epoch * len(sizes) // epochs]
