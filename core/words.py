"""Words of messages that depend on a number."""


def counted(n: int, noun: str) -> str:
    """A number of things: `1 image`, `2,000 images`, `3 classes`."""
    plural = "" if n == 1 else "es" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{plural}"


def are(n: int) -> str:
    """`is` for one thing, else `are`."""
    return "is" if n == 1 else "are"
