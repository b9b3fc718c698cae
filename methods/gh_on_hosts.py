"""GH on Focal, SDCLR and BCL, as in MediaBrain-SJTU/Geometric-Harmonization @ 9f7057c. See `methods/gh.py`."""

from dataclasses import dataclass

from methods.base import register
from methods.bcl import BCL
from methods.focal import Focal
from methods.gh import GH, OVERRIDES, PAPER, GHSettings
from methods.sdclr import SDCLR


@register("focal+gh", title="Focal+GH", paper=PAPER, overrides=OVERRIDES, suite=False)
class FocalWithGH(GH):
    """Focal with geometric harmonization."""

    Host = Focal

    @dataclass(frozen=True)
    class Hparams(GHSettings, Focal.Hparams):
        """Hyper-parameters of Focal and GH."""


@register("sdclr+gh", title="SDCLR+GH", paper=PAPER, overrides=OVERRIDES, suite=False)
class SDCLRWithGH(GH):
    """SDCLR with geometric harmonization; the moving averages are those of the dense branch."""

    Host = SDCLR

    @dataclass(frozen=True)
    class Hparams(GHSettings, SDCLR.Hparams):
        """Hyper-parameters of SDCLR and GH."""


@register("bcl+gh", title="BCL+GH", paper=PAPER, overrides=OVERRIDES, suite=False)
class BCLWithGH(GH):
    """BCL with geometric harmonization."""

    Host = BCL

    @dataclass(frozen=True)
    class Hparams(GHSettings, BCL.Hparams):
        """Hyper-parameters of BCL and GH."""
