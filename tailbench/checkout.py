"""Checks, before they are imported, that the packages of the suite are those beside this one.

Their names are general, so a script or folder of the user can have the same name and be found first.
"""

from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def check(root: Path) -> None:
    """Raises ImportError if Python finds another module under the name of a package in the folder `root`."""
    for own in sorted(root.glob("*/__init__.py")):
        spec = find_spec(own.parent.name)
        found = spec.origin if spec is not None else None
        if found is None or Path(found).resolve() != own.resolve():
            raise ImportError(
                f"tailbench needs its package {own.parent.name!r} in {root}, but Python finds {found or 'no file'} first; "
                "rename that file or folder, or start Python in another folder"
            )


check(ROOT)
