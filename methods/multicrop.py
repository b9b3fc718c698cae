"""Multi-crop: two large views of an image and several small crops of a lower resolution, as in SwAV and DINO.

Caron et al., NeurIPS 2020, arXiv:2006.09882, section 3.3. All crops have the colour augmentation of the benchmark.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.settings import setting
from data.views.spec import CONTRASTIVE, Role

LARGE = 2  # large views, the first of an image: those that targets are computed from
# facebookresearch/swav @ 06b1b7c, `scripts/`, with 96 of 224 px; DINO's command for ResNet-50 has the same areas
_OF_224_PX: dict[str, Any] = {"small_size": 0.43, "small_area": (0.05, 0.14), "large_area": (0.14, 1.0)}
IMAGE_FILES = dict.fromkeys(("imagenet100lt", "imagenetlt", "placeslt", "inat18", "folderlt"), _OF_224_PX)


@dataclass(frozen=True)
class CropSettings:
    """Crops of vturrisi/solo-learn @ 9187ea3 for CIFAR, `scripts/pretrain/cifar-multicrop/augmentations/swav.yaml`."""

    crops: int = setting(6, "small crops of an image, beside its two large views", low=0)
    small_size: float = setting(0.56, "side of a small crop relative to a large view's: 18 of 32 px", 0.05, 1)
    small_area: tuple[float, float] = setting((0.08, 0.5), "area of a small crop as fractions of the image: from, to", 0.001, 1)
    large_area: tuple[float, float] = setting((0.2, 1.0), "area of a large view as fractions of the image: from, to", 0.001, 1)


def crop_roles(settings: CropSettings) -> tuple[Role, ...]:
    """Roles of the large views, then of the small crops."""
    large = CONTRASTIVE.but(crop_scale=settings.large_area)
    small = CONTRASTIVE.but(crop_scale=settings.small_area, relative_size=settings.small_size)
    return (large,) * LARGE + (small,) * settings.crops


def features_of(backbone: nn.Module, views: Sequence[Tensor]) -> Tensor:
    """(V * B, width) features of V views, one view after the other: one pass for the large views, one for the small crops.

    Batch norms have the statistics of a pass, as in facebookresearch/swav.
    """
    return torch.cat([backbone(torch.cat(same)) for same in (tuple(views[:LARGE]), tuple(views[LARGE:])) if same])
