"""Names of the long-tailed variants of benchmarks as a user sees and types them.

A variant is stored in configurations, passports and records under the name of its profile, which may be that of a method or a
paper. Run ids and passports are hashes of this name, so it does not change. A profile that is not listed here has one name.
"""

import re

_VARIANTS = {  # by benchmark and profile: law of the class counts, largest and smallest
    ("cifar10lt", "sdclr"): "exp-4500-45",
    ("cifar10lt", "cao"): "exp-5000-50",
    ("cifar100lt", "sdclr"): "exp-450-4",
    ("cifar100lt", "gh"): "exp-500-5",
    ("imagenet100lt", "sdclr"): "pareto-1280-6",
    ("imagenetlt", "sdclr"): "pareto-1280-5",
    ("placeslt", "colt"): "pareto-4980-5",
}
_PROFILES = {(dataset, variant): profile for (dataset, profile), variant in _VARIANTS.items()}


def variant_of(dataset: str, profile: str) -> str:
    """Name of a variant by its profile; the profile itself if it has no other name."""
    return _VARIANTS.get((dataset, profile), profile)


def profile_of(dataset: str, name: str) -> str:
    """Profile of a variant by its name; any other name, such as that of a profile, unchanged."""
    return _PROFILES.get((dataset, name), name)


def with_variants(text: str) -> str:
    """A text stored with profiles, such as the line of a passport, with the names of the variants."""
    return re.sub(r"(\S+) \(profile ([^()]+)\)", lambda found: f"{found[1]} (variant {variant_of(*found.groups())})", text)
