"""Which shard holds a service: rendezvous hashing, so that a new shard takes its share and moves nothing else.

Pure. A shard is identified by its name; where it runs does not matter here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def shard_of(label: str, shards: Sequence[str]) -> int:
    """Return the index in `shards` of the one that holds the service with this DNS label.

    A shard's weight for a label depends on those two alone (Thaler and Ravishankar, 1998), so adding or
    removing a shard moves only the services that it gains or loses. `shards` must not be empty.
    """
    if len(shards) == 1:
        return 0
    return max(range(len(shards)), key=lambda at: (_weight(label, shards[at]), shards[at]))


def _weight(label: str, shard: str) -> bytes:
    return hashlib.blake2b(label.encode(), key=shard.encode()[:64], digest_size=8).digest()
