"""Named probe protocols, one file each. A number without its protocol's name means nothing: they do not agree."""

from eval.probes.base import PROBES, Probe, ProbeResult, Shape

__all__ = ["PROBES", "Probe", "ProbeResult", "Shape"]
