"""Learned prototypes of embeddings, and the prediction of their assignment from other views. Used by DINO and SwAV."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Prototypes(nn.Linear):
    """K directions of the embedding space, normalised at use: a linear layer with weight normalisation and a norm of 1."""

    def __init__(self, width: int, count: int):
        super().__init__(width, count, bias=False)

    def forward(self, z: Tensor, frozen: bool = False) -> Tensor:
        """(..., K) cosine similarities of (..., d) embeddings, not normalised, in float32 also under autocast.

        Prototypes that are `frozen` get a gradient of 0: optimisers then change the norm of weights at most (decay).
        """
        # not None: torch's fused SGD raises an error for a parameter whose first gradient comes later than those of others
        weight = self.weight.detach() + 0 * self.weight if frozen else self.weight
        with torch.autocast(z.device.type, enabled=False):
            return F.normalize(z.to(weight.dtype), dim=-1) @ F.normalize(weight, dim=1).T


def swapped_prediction(targets: Tensor, logits: Tensor) -> Tensor:
    """Cross entropies of the targets of some views with the predictions of all other views of the image.

    -sum_k q_ik log softmax(x_j)_k, averaged over targets i and predictions j != i. Caron et al. 2020 (SwAV),
    eq. 1 and 6; Caron et al. 2021 (DINO), eq. 3.

    Args:
        targets: (T, B, K) assignments q of the first T views, rows sum to 1; no gradient flows into them.
        logits: (V, B, K) of all V >= T views x, divided by the temperature; V is at least 2.

    Returns:
        (B,) losses.
    """
    log_p = logits.log_softmax(dim=2)
    of_others = log_p.sum(dim=0) - log_p[: len(targets)]
    return -(targets.detach() * of_others).sum(dim=(0, 2)) / (len(targets) * (len(logits) - 1))
