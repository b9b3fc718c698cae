"""Python interface of the suite: train and probe methods, load backbones, read results. See `docs/python.md`."""

from tailbench import checkout as checkout
from tailbench.models import ImageTransform, Pretrained, load, push
from tailbench.probes import probe
from tailbench.runs import Run, UserError, train
from tailbench.tables import results
from tailbench.version import __version__

__all__ = ["ImageTransform", "Pretrained", "Run", "UserError", "__version__", "load", "probe", "push", "results", "train"]
