"""Which keys of a group are whose, by agreement without talk: rendezvous hashing.

Thaler and Ravishankar, "A name-based mapping scheme for rendezvous" (1996): every member gives
every key a weight, the highest has it. So all who know the same members agree, and when one comes
or goes, only keys that it gets or had move.
"""

import hashlib
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.uint64]


def share_of(keys: Iterable[int], member: str, members: Collection[str]) -> frozenset[int]:
    """Those of keys (0 <= key < 2**64) that are this member's; none where it is no member."""
    if member not in members:
        return frozenset()
    listed = np.fromiter(keys, np.uint64)
    others = set(members) - {member}
    mine = _weights(listed, member)
    wins = np.ones(len(listed), np.bool_)
    for other in others:
        theirs = _weights(listed, other)
        # Equal weights are next to impossible, and yet must not give two members the key.
        wins &= (mine >= theirs) if member < other else (mine > theirs)
    return frozenset(listed[wins].tolist())


def _weights(keys: Weights, member: str) -> Weights:
    """A member's weight for each key: the finaliser of SplitMix64 over the key and its name."""
    digest = hashlib.blake2b(member.encode(), digest_size=8).digest()
    x = keys ^ np.uint64(int.from_bytes(digest, "big"))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return x
