"""What an instance costs in memory: itself, and its places in the indexes of a catalogue. Pure.

Measured by walking over what it is made of, once for each time that it is put; what the indexes take is a
number that a test holds against what Python really allocates.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from registry_core.domain.records import Instance

# The catalogue's dictionaries, keys and cached answers: for each instance, for each of its addresses.
INDEX_BYTES: Final = 430
ADDRESS_BYTES: Final = 270
# For each service: its dictionary, its cached answer, its place in the LRU.
SERVICE_BYTES: Final = 500
# For each name of a service that is not held: the name twice, its place in a dictionary.
NAME_BYTES: Final = 210
_MAX_DEPTH: Final = 32
_SHARED_KEY: Final = 32


def instance_bytes(instance: Instance) -> int:
    """Return about how many bytes a catalogue takes more for having `instance`."""
    size = sys.getsizeof(instance) + INDEX_BYTES + ADDRESS_BYTES * max(1, len(instance.addresses))
    texts = (
        instance.service_name,
        instance.instance_id,
        instance.host,
        instance.health_endpoint,
        instance.version,
        instance.zone,
    )
    size += sum(map(sys.getsizeof, texts))
    return size + _walked(instance.addresses, 0) + _walked(instance.tags, 0) + _walked(instance.metadata, 0)


def _walked(value: Any, depth: int) -> int:
    """Return the bytes of a JSON value, as deep as a registration may be."""
    size = sys.getsizeof(value)
    if depth == _MAX_DEPTH:
        return size
    if isinstance(value, dict):
        return size + sum(_key_bytes(key) + _walked(inner, depth + 1) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return size + sum(_walked(inner, depth + 1) for inner in value)
    return size


def _key_bytes(key: str) -> int:
    # The decoder keeps short keys, and gives the same object to all who have them.
    return sys.getsizeof(key) if len(key) > _SHARED_KEY else 0
