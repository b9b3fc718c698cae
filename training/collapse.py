"""Detection of collapsed runs: features without spread, weights that training did not change or made very large.

Every threshold lies between the values of healthy and of collapsed runs, which docs/protocols.md lists.
"""

import logging
import math
from dataclasses import asdict as fields_of
from typing import Any

import torch
from msgspec.structs import asdict
from torch import Tensor
from torch.nn import functional as F

from data.benchmark import BENCHMARKS
from data.prefetch import to_cpu
from eval.features import LabelledFeatures
from eval.probes.geometry import effective_rank
from training.config import RunConfig, default_hparams
from training.log import CollapseMeasures
from training.monitor import evenly_spaced
from training.prepare import Training, build_method
from training.presets import PRESETS

log = logging.getLogger(__name__)

IMAGES = 512  # of the pretraining set, evenly spaced
TIMES = (0.02, 0.25, 0.5, 0.75, 1.0)  # of the measurements, as fractions of the run
LEAST_STD, LEAST_RANK = 0.1, 3.0  # of healthy features and embeddings
LEAST_CHANGE, MOST_CHANGE = 1e-3, 20.0  # of healthy weights, relative
# in eval mode, a batch norm uses running statistics, which after 50 steps hold 0.9^50 = 0.5 % of their initial values; before,
# healthy features too lie close to a constant
SETTLED = 50
ADJUSTED = ("budget",)  # settings that this suite lowers for a small OOD pool, see `grid.plan`
UNUSUAL = 3.0  # ratio to the default value from which a setting is a likely cause


class CollapseMonitor:
    """Measures features and weights at five epochs of a run. It uses no random numbers and changes no state."""

    def __init__(self) -> None:
        self._warned = False

    def __call__(self, training: Training, epoch: int) -> dict[str, Any]:
        """Returns the result of `measure` as `collapse`; an empty dict in an epoch (from 1) without measurement.

        The first measurement with a warning is logged, unless it is the last of the run.
        """
        if epoch not in {math.ceil(time * training.epochs) for time in TIMES}:
            return {}
        found = measure(training)
        if epoch < training.epochs and not self._warned:
            for warning in find_warnings(training.config, found, training.steps_before[epoch]):
                log.warning("%s, epoch %d of %d: %s", training.config.label, epoch, training.epochs, warning)
                self._warned = True
        return {"collapse": asdict(found)}


@torch.no_grad()
def measure(training: Training) -> CollapseMeasures:
    """Spread of features and embeddings of some pretraining images under the evaluation transform, and change of the weights.

    Returns:
        `spread` of the features and of the embeddings, and `weight_change`.
    """
    method, images = training.method, training.corpus.images
    subset = images[torch.from_numpy(evenly_spaced(len(images), IMAGES))]
    mode = method.training
    method.eval()  # batch norms use running statistics and do not update them
    features, embeddings = (
        torch.cat(list(to_cpu(training.corpus.embed(network, subset)))) for network in (method.backbone, method.project)
    )
    method.train(mode)
    return CollapseMeasures(*spread(features), *spread(embeddings), _rounded(weight_change(training)))


def spread(rows: Tensor) -> tuple[float | None, float | None]:
    """Standard deviation and effective rank of n features.

    Args:
        rows: (n, d) float32 on the CPU.

    Returns:
        Mean over dimensions of the standard deviation of the L2-normalised features, times sqrt(d): 0 for equal features, 1 for
        isotropic ones (Chen & He, CVPR 2021, arXiv:2011.10566, section 4.1). Effective rank of the features, as in the probe
        `geometry`; 0 for equal features. Both are None for features that are not finite.
    """
    if not rows.isfinite().all():
        return None, None
    count, width = rows.shape
    std = F.normalize(rows.double(), dim=1).std(dim=0, correction=0).mean().item() * width**0.5
    rank = effective_rank(LabelledFeatures(rows, torch.arange(count), torch.zeros(count, dtype=torch.long)))
    return _rounded(std), _rounded(rank or 0.0)


@torch.no_grad()
def weight_change(training: Training) -> float:
    """Relative change ||w - w0|| / ||w0|| of the backbone's parameters since initialisation; 0 only if all are equal."""
    fresh = build_method(training.config, len(training.corpus.images)).backbone
    changed, initial = 0.0, 0.0
    for trained, start in zip(training.method.backbone.parameters(), fresh.parameters(), strict=True):
        w, w0 = trained.cpu().double(), start.double()
        changed += (w - w0).square().sum().item()
        initial += w0.square().sum().item()
    return math.sqrt(changed / initial)


def find_warnings(config: RunConfig, found: CollapseMeasures | None, steps: int) -> list[str]:
    """Warnings on a run, each one sentence with a likely cause; empty for a healthy run.

    Args:
        config: of the run.
        found: result of `measure`; None, as in logs of earlier versions, gives no warning.
        steps: optimiser steps before the measurement.
    """
    if found is None:
        return []
    recipe, problems = config.recipe, []
    problem = _spread_problem("features", found.feature_std, found.effective_rank, steps)
    # of collapsed features, the embeddings are collapsed too
    problem = problem or _spread_problem("embeddings", found.embedding_std, found.embedding_rank, steps)
    if problem:
        problems.append(problem)
    change = found.weight_change
    if change is None or change > MOST_CHANGE:
        grown = "not finite" if change is None else f"{change:.3g}"
        problems.append(f"the backbone's weights are far from their initial values: relative change {grown}")
    elif change < LEAST_CHANGE:
        problems.append(f"training hardly changed the backbone's weights: relative change {change:.2g}")
    decay = recipe.lr * recipe.weight_decay
    if decay >= 1:
        product = f"learning rate times weight decay is {decay:.3g}, 1 or more"
        problems.append(f"weight decay removes the weights in one step: {product}")
    cause = likely_cause(config) or "all settings are close to those of the preset; try a lower learning rate"
    return [f"{problem}; {cause}" for problem in problems]


def _spread_problem(rows: str, std: float | None, rank: float | None, steps: int) -> str:
    """Describes collapsed features or embeddings; empty for healthy ones."""
    if std is None or rank is None:
        return f"{rows} are not finite"
    if rank >= LEAST_RANK and (std >= LEAST_STD or steps < SETTLED):
        return ""
    return f"{rows} collapsed: standard deviation per dimension {std:.2g} of 1, effective rank {rank:.1f}"


def likely_cause(config: RunConfig) -> str:
    """The setting that is furthest from its default, as a ratio, beside this default; empty if none is far from it."""
    preset = PRESETS[config.preset].change(BENCHMARKS[config.dataset].recipe)
    scaled = preset.lr * config.recipe.batch_size / preset.batch_size  # as `resolve` does
    pairs = [
        ("recipe.lr", config.recipe.lr, scaled),
        # less than the default is never the cause
        ("recipe.weight_decay", max(config.recipe.weight_decay, preset.weight_decay), preset.weight_decay),
    ]
    defaults = fields_of(default_hparams(config.method, config.dataset, config.preset))
    pairs += [
        (f"{config.method}.{name}", value, defaults[name])
        for name, value in config.hparams.items()
        if name not in ADJUSTED and all(type(number) in (int, float) for number in (value, defaults[name]))
    ]
    name, value, default = max(pairs, key=lambda pair: _ratio(*pair[1:]))
    if _ratio(value, default) < UNUSUAL:
        return ""
    return f"likely cause: {name}={value:g}; the preset {config.preset} has {default:g}"


def _ratio(first: float, second: float) -> float:
    """The larger of two numbers from 0 on divided by the smaller; infinite if only one of them is 0."""
    low, high = sorted((first, second))
    return 1.0 if low == high else high / low if low else math.inf


def _rounded(value: float) -> float | None:
    """Four significant digits; None for a number that is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
