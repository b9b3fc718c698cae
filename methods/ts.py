"""TS: SimCLR with a temperature that oscillates over the epochs.

Kukleva et al., ICLR 2023, arXiv:2303.13664. Reference: Annusha/temperature_schedules @ 3ac1db6. Low temperatures favour
discrimination of single instances, which helps rare classes; high temperatures favour discrimination of groups, which helps
frequent classes. The period is 400 of 2000 epochs on CIFAR and 400 of 800 on ImageNet-100, written as percentages of the run.
All contrastive methods accept such a schedule: `--set sdclr.temperature=cosine:0.1:1.0:20%`.
"""

from dataclasses import dataclass

from core.settings import setting
from methods.base import register
from methods.schedules import MIN_TEMPERATURE, Cosine, Temperature
from methods.simclr import SimCLR


@register(
    "ts",
    title="TS",
    paper="Kukleva et al., ICLR 2023, arXiv:2303.13664",
    overrides={
        "imagenet100lt": {"temperature": "cosine:0.1:1.0:50%"},
        "cpu": {"temperature": "cosine:0.1:0.4:50%"},  # tuned for this preset: docs/cpu_preset.md
    },
)
class TS(SimCLR):
    """SimCLR with the temperature schedule of the paper."""

    @dataclass(frozen=True)
    class Hparams(SimCLR.Hparams):
        """SimCLR's, with the range of the released runs (the default maximum in the reference's parser is 0.5)."""

        temperature: Temperature = setting(
            Cosine("cosine:0.1:1.0:20%"), "softmax temperature tau, or its schedule", low=MIN_TEMPERATURE
        )
