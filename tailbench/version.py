"""Version of the suite, under the name that Python packages have it by; imported after the check of `tailbench.checkout`."""

from core.version import VERSION

__version__ = VERSION
