"""The nearest of many features by cosine, in memory that does not grow with how many there are."""

import torch
from torch import Tensor
from torch.nn import functional as F

from eval.features import Rows

QUERIES = 1024  # rows that meet a block of the bank at once


def nearest(queries: Rows, bank: Rows, k: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The k rows of `bank` that are most similar to each query, most similar first.

    On the unit sphere the order by cosine is the order by Euclidean distance. Which of equally similar rows comes first is not
    promised, but it is the same every time.

    Args:
        queries: M features.
        bank: n features.
        k: neighbours; all n where there are fewer.
        device: where similarities are computed.

    Returns:
        Cosines (M, k) float32 and places in `bank` (M, k) int64, on the CPU.
    """
    k = min(k, len(bank))
    similarity = torch.full((len(queries), k), -torch.inf)
    place = torch.zeros(len(queries), k, dtype=torch.int64)
    done = 0
    for block, _ in bank.blocks():  # the outer loop, as a block is gathered and normalised for all queries at once
        block = F.normalize(block, dim=1, out=block).to(device)
        for start in range(0, len(queries), QUERIES):
            here = slice(start, start + QUERIES)
            part, _ = queries[here]
            cosines = F.normalize(part, dim=1, out=part).to(device) @ block.T
            values, found = (values.cpu() for values in cosines.topk(min(k, len(block)), dim=1))
            values, found = torch.cat([similarity[here], values], dim=1), torch.cat([place[here], found + done], dim=1)
            similarity[here], best = values.topk(k, dim=1)
            place[here] = found.gather(1, best)
        done += len(block)
    return similarity, place
