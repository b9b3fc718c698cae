"""DINO: a student predicts the outputs of its exponential moving average, the teacher, for other views; no negatives.

Caron et al., ICCV 2021, arXiv:2104.14294, for ResNets. Head and momentum as in the CIFAR settings of vturrisi/solo-learn @
9187ea3 (`solo/methods/dino.py`), which has no small crops for DINO: those are its crops for SwAV. Deviations: colours and SGD
schedule of the benchmark instead of asymmetric views and LARS; no clipping of gradients, as in solo-learn (the authors' code: a
norm of 3 for each parameter).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from core.settings import setting
from methods.base import Method, Output, register
from methods.heads import gelu_mlp
from methods.momentum import cosine_momentum, ema_copy, ema_update
from methods.multicrop import IMAGE_FILES, LARGE, CropSettings, crop_roles, features_of
from methods.prototypes import Prototypes, swapped_prediction
from methods.schedules import MIN_TEMPERATURE, Duration, Temperature, temperature_at

SMALL = {"crops": 2, "head_norm": True}


@register(
    "dino",
    title="DINO",
    paper="Caron et al., ICCV 2021, arXiv:2104.14294",
    overrides={
        **IMAGE_FILES,
        # not tuned: small and fast, a teacher that averages 20 of about 1,000 steps, batch norms against slow starts
        "cpu": {**SMALL, "hidden_dim": 512, "prototypes": 1024, "momentum": 0.95, "freeze": Duration("1")},
        "smoke": {**SMALL, "hidden_dim": 256, "prototypes": 256, "momentum": 0.9},
    },
    suite=False,
    group="baselines",
)
class DINO(Method):
    """Centred and sharpened outputs of the teacher for the large views, predicted by the student from all other views."""

    decay_norm_and_bias = False

    @dataclass(frozen=True)
    class Hparams(CropSettings):
        """CIFAR settings of vturrisi/solo-learn, with 1 of 1000 epochs; temperatures of the paper, with 30 of 300 epochs."""

        temperature: Temperature = setting(0.1, "softmax temperature of the student, or its schedule", low=MIN_TEMPERATURE)
        start_tau: float = setting(0.04, "temperature of the teacher in the first epoch", low=MIN_TEMPERATURE)
        teacher_tau: float = setting(0.07, "temperature of the teacher after its linear warm-up", low=MIN_TEMPERATURE)
        tau_warmup: Duration = setting(Duration("10%"), "warm-up of the teacher's temperature")
        centre_momentum: float = setting(0.9, "EMA decay of the mean of the teacher's outputs, which is subtracted", 0, 1)
        momentum: float = setting(0.9995, "initial EMA decay of the teacher; increases to 1 by a half cosine", 0, 1)
        freeze: Duration = setting(Duration("0.1%"), "time at the start without training of the last layer")
        prototypes: int = setting(4096, "outputs K of the last layer", low=2)
        head_norm: bool = setting(False, "whether the projector has batch norms")
        hidden_dim: int = setting(2048, "hidden dimension of the projector", low=1)
        out_dim: int = setting(256, "dimension of the embedding, the input of the last layer", low=1)

    def build(self, width: int) -> None:
        h = self.hparams
        self.views = crop_roles(h)
        self.projector = gelu_mlp(width, h.hidden_dim, h.out_dim, norm=h.head_norm)
        self.prototypes = Prototypes(h.out_dim, h.prototypes)
        self.teacher_backbone, self.teacher_projector = ema_copy(self.backbone), ema_copy(self.projector)
        self.teacher_prototypes = ema_copy(self.prototypes)
        self.register_buffer("centre", torch.zeros(h.prototypes))
        self.centre: Tensor

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(B, d) embeddings of every view by the student, then of the large ones by the teacher."""
        student = self.projector(features_of(self.backbone, views))
        with torch.no_grad():
            teacher = self.teacher_projector(features_of(self.teacher_backbone, views[:LARGE]))
        return (*student.tensor_split(len(views)), *teacher.tensor_split(LARGE))

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        h, run = self.hparams, self.scale.epochs
        cosines = self.prototypes(torch.stack(embeddings[:-LARGE]), frozen=epoch < h.freeze.whole(run))  # (V, B, K)
        with torch.no_grad():
            outputs = self.teacher_prototypes(torch.stack(embeddings[-LARGE:]))
            targets = ((outputs - self.centre) / self.tau(epoch)).softmax(dim=2)
            self.centre.lerp_(outputs.mean(dim=(0, 1)), 1 - h.centre_momentum)
        losses = swapped_prediction(targets, cosines / temperature_at(h.temperature, epoch, run))
        return Output(losses.mean(), losses.detach())

    def tau(self, epoch: int) -> float:
        """Temperature of the teacher in an epoch, from 0; the last epoch of the warm-up has its end value."""
        h, length = self.hparams, self.hparams.tau_warmup.whole(self.scale.epochs)
        return h.teacher_tau if epoch >= length else h.start_tau + (h.teacher_tau - h.start_tau) * epoch / max(1, length - 1)

    def project(self, images: Tensor) -> Tensor:
        return self.projector(self.backbone(images))

    def after_step(self, step: int) -> None:
        teacher = [self.teacher_backbone, self.teacher_projector, self.teacher_prototypes]
        momentum = cosine_momentum(self.hparams.momentum, step, self.scale.steps)
        ema_update(teacher, [self.backbone, self.projector, self.prototypes], momentum)
