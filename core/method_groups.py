"""Groups of methods, by which `--methods` selects them. Apart from `methods`, whose import takes seconds."""

from typing import Literal, get_args

from core.registry import ALL

MethodGroup = Literal["long-tail", "baselines"]
EVERY = "every"  # all registered methods
METHOD_GROUPS = (ALL, *get_args(MethodGroup), EVERY)
