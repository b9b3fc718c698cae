"""Named probe protocols, one file each. A number without its protocol's name means nothing: they do not agree."""

from eval.probes.base import PROBES, GeometryResult, Probe, ProbeResult

__all__ = ["PROBES", "GeometryResult", "Probe", "ProbeResult"]
