"""Geometry of the test features: alignment, uniformity, effective rank.

Alignment and uniformity follow Wang & Isola (ICML 2020; alpha = 2, t = 2), on the unit sphere; the effective rank follows Roy &
Vetterli (EUSIPCO 2007). The values of a group use only images, and pairs of images, of its classes.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from eval.features import BLOCK, FrozenFeatures, LabelledFeatures
from eval.groups import GROUPS
from eval.moments import moments
from eval.probes.base import GeometryResult, Probe, register

PAIRED = 20_000  # test images whose pairs are evaluated, at most: a random subset of larger test sets
PROTOCOL = (
    "alignment of two weakly augmented views of each test image, and uniformity of all pairs of {}, on the unit sphere (Wang & "
    "Isola 2020); effective rank of the unaugmented features, centred, not normalised (Roy & Vetterli 2007)"
)


@register("geometry")
class GeometryRecord(Probe):
    """Geometry of all test features and of each group. Trains nothing and yields no accuracy."""

    protocol = PROTOCOL.format("unaugmented test images")
    protocol_in_files = PROTOCOL.format(f"unaugmented test images (at most {PAIRED:,} of them)")
    needs = ()
    passes = 0.3  # two passes over the test images

    def run(self, frozen: FrozenFeatures, seed: int) -> GeometryResult:
        views = [frozen.augmented_test(seed, "geometry", draw) for draw in (1, 2)]
        distances = squared_distances(*views)
        parts = {"all": torch.arange(len(frozen.test))} | {
            name: torch.isin(frozen.test.labels, torch.from_numpy(group)).nonzero()[:, 0]
            for name, group in zip(GROUPS, frozen.groups, strict=True)
        }
        return GeometryResult(
            alignment={name: distances[part].mean().item() if len(part) else None for name, part in parts.items()},
            uniformity=dict(zip(parts, uniformity(*_paired(frozen.test, parts.values()), frozen.device), strict=True)),
            effective_rank={name: effective_rank(_subset(frozen.test, part)) for name, part in parts.items()},
        )


def _paired(rows: LabelledFeatures, parts: Iterable[Tensor]) -> tuple[LabelledFeatures, list[Tensor]]:
    """At most `PAIRED` of the features, and the places of each part among them: the number of pairs grows quadratically."""
    if len(rows) <= PAIRED:
        return rows, list(parts)
    chosen = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:PAIRED].sort().values
    return _subset(rows, chosen), [torch.isin(chosen, part).nonzero()[:, 0] for part in parts]


def squared_distances(first: LabelledFeatures, second: LabelledFeatures) -> Tensor:
    """Squared distances ||x - y||^2 of paired features after L2 normalisation, (n,) float64."""
    pairs = zip(first.blocks(), second.blocks(), strict=True)
    return torch.cat([(_unit(x) - _unit(y)).double().square().sum(dim=1) for (x, _), (y, _) in pairs])


def uniformity(rows: LabelledFeatures, parts: Sequence[Tensor], device: torch.device) -> list[float | None]:
    """Log of the mean of exp(-2 ||x - y||^2) over all pairs of L2-normalised features within each part.

    All pairs are evaluated, block by block, on `device`.

    Args:
        rows: n features.
        parts: indices of the features of each part.
        device: device of the computation.

    Returns:
        One value per part; None for a part with fewer than two features.
    """
    member = torch.zeros(len(rows), len(parts))
    for number, part in enumerate(parts):
        member[part, number] = 1
    total = torch.zeros(len(parts)).double()
    for start in range(0, len(rows), BLOCK):
        x, in_x = _unit(rows[start : start + BLOCK][0]).to(device), member[start : start + BLOCK].to(device)
        for other in range(start, len(rows), BLOCK):
            y, in_y = _unit(rows[other : other + BLOCK][0]).to(device), member[other : other + BLOCK].to(device)
            # -2 ||x - y||^2; the norms are computed as all-zero features have norm 0, not 1
            norms = -2 * (x.square().sum(dim=1)[:, None] + y.square().sum(dim=1))
            potential = norms.addmm_(x, y.T, alpha=4).exp_()
            if other == start:
                potential.triu_(diagonal=1)
            total += ((potential @ in_y) * in_x).double().sum(dim=0).cpu()
    sizes = [len(part) for part in parts]
    return [
        float((value / (size * (size - 1) / 2)).log()) if size > 1 else None for value, size in zip(total, sizes, strict=True)
    ]


def effective_rank(rows: LabelledFeatures) -> float | None:
    """Exponential of the entropy of the normalised singular values of the centred features, in [1, d]; None if all are equal.

    Singular values are square roots of eigenvalues of the covariance, so those below about 1e-7 of the largest are below the
    rounding error and count as 0.
    """
    if not len(rows):
        return None
    eigenvalues = torch.linalg.eigvalsh(moments(rows, int(rows.labels.max()) + 1).covariance)
    rounding = eigenvalues.max() * len(eigenvalues) * torch.finfo(torch.float64).eps
    singular = eigenvalues[eigenvalues > rounding].sqrt()
    if not len(singular):
        return None
    p = singular / singular.sum()
    return float((-(p * p.log()).sum()).exp())


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1)


def _subset(rows: LabelledFeatures, which: Tensor) -> LabelledFeatures:
    return LabelledFeatures(rows.bank, rows.index[which], rows.labels[which])
