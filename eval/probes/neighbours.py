"""Exact nearest neighbours by cosine similarity, computed in blocks of bounded memory."""

import torch
from torch import Tensor
from torch.nn import functional as F

from eval.features import LabelledFeatures

QUERIES = 1024  # queries that are compared with a block of the bank at a time
HELD = 65_536  # queries on the device at a time: 512 MB at 2,048 dimensions


def nearest(queries: LabelledFeatures, bank: LabelledFeatures, k: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Finds the k nearest neighbours of each query in `bank`, most similar first.

    On L2-normalised features, the order by cosine similarity equals that by Euclidean distance. The order of ties is
    unspecified but deterministic.

    Args:
        queries: M features.
        bank: n features.
        k: number of neighbours; n if that is smaller.
        device: device on which similarities are computed.

    Returns:
        Cosine similarities (M, k) float32 and indices into `bank` (M, k) int64, on the CPU.
    """
    parts = [
        _nearest(LabelledFeatures(queries.bank, index, labels), bank, min(k, len(bank)), device)
        for index, labels in zip(queries.index.split(HELD), queries.labels.split(HELD), strict=True)
    ]
    similarity, neighbours = zip(*parts, strict=True)
    return torch.cat(similarity), torch.cat(neighbours)


def _nearest(queries: LabelledFeatures, bank: LabelledFeatures, k: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """`nearest` of queries that fit on the device: they and the bank are normalised and copied to it once."""
    unit = torch.cat([F.normalize(block, dim=1, out=block).to(device) for block, _ in queries.blocks()])
    similarity = torch.full((len(queries), k), -torch.inf, device=device)
    neighbours = torch.zeros(len(queries), k, dtype=torch.int64, device=device)
    done = 0
    for block, _ in bank.blocks():
        block = F.normalize(block, dim=1, out=block).to(device)
        for start in range(0, len(queries), QUERIES):
            here = slice(start, start + QUERIES)
            values, found = (unit[here] @ block.T).topk(min(k, len(block)), dim=1)
            values, found = torch.cat([similarity[here], values], dim=1), torch.cat([neighbours[here], found + done], dim=1)
            similarity[here], best = values.topk(k, dim=1)
            neighbours[here] = found.gather(1, best)
        done += len(block)
    return similarity.cpu(), neighbours.cpu()
