"""Seeds of independent random streams, so that no generator state has to be stored between epochs or steps."""

import hashlib


def seed_of(run_seed: int, purpose: str, *place: int) -> int:
    """Seed of the stream for `purpose` at `place`, in [0, 2^63).

    `place` is the position of the stream, outermost first: (epoch, rank) or (epoch, rank, step). Different arguments give
    independent seeds; equal arguments give the same seed on every machine.
    """
    key = "/".join([str(run_seed), purpose, *map(str, place)])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") >> 1
