"""Probe protocols, one file each. Accuracies of different protocols are not comparable."""

from eval.probes.base import PROBES, GeometryResult, Probe, ProbeResult

__all__ = ["PROBES", "GeometryResult", "Probe", "ProbeResult"]
