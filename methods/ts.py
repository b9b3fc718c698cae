"""TS: SimCLR under a temperature that swings, so that head and tail have their turns.

Kukleva et al., ICLR 2023, arXiv:2303.13664. Reference: Annusha/temperature_schedules @ 3ac1db6. Low temperatures tell single
images apart, which rare classes need; high ones tell groups apart, which frequent classes gain from. The period is 400 of the
2000 epochs on CIFAR and 400 of the 800 on ImageNet-100, here as shares of the run. Any contrastive method takes the same
schedule: `--set sdclr.temperature=cosine:0.1:1.0:20%`.
"""

from dataclasses import dataclass

from core.settings import setting
from methods.base import register
from methods.schedules import LOWEST, Cosine, Temperature
from methods.simclr import SimCLR


@register(
    "ts",
    title="TS",
    paper="Kukleva et al., ICLR 2023, arXiv:2303.13664",
    overrides={
        "imagenet100lt": {"temperature": "cosine:0.1:1.0:50%"},
        "cpu": {"temperature": "cosine:0.1:0.5:20%"},  # tuned at that scale, as BYOL's, SDCLR's and BCL's: docs/cpu_preset.md
    },
)
class TS(SimCLR):
    """SimCLR with the schedule of the paper."""

    @dataclass(frozen=True)
    class Hparams(SimCLR.Hparams):
        """Range of the released runs (the reference's parser defaults to 0.5)."""

        temperature: Temperature = setting(Cosine("cosine:0.1:1.0:20%"), "softmax temperature tau, or its schedule", low=LOWEST)
