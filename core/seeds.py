"""One number for every random stream, so that no generator has to carry state from one epoch or step to the next."""

import hashlib


def seed_of(run_seed: int, purpose: str, *place: int) -> int:
    """Seed of the stream for `purpose` at `place`, in [0, 2^63).

    `place` is where the stream begins, outermost first: (epoch, rank) or (epoch, rank, step). Any two different arguments
    give unrelated seeds, and the same arguments give the same seed on every machine.
    """
    key = "/".join([str(run_seed), purpose, *map(str, place)])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") >> 1
