"""What an instance costs in memory: itself, and its places in the indexes of a catalogue. Pure.

Measured by walking over what it is made of, once for each time that it is put; what the indexes take is a
number that a test holds against what Python really allocates.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from registry_core.domain.records import Instance

# The catalogue's dictionaries, keys and cached answers: for each instance, for each of its addresses.
INDEX_BYTES: Final = 260
ADDRESS_BYTES: Final = 40
# For each service: its name, its dictionary, its cached answer, its place in the LRU.
SERVICE_BYTES: Final = 740
# For each name of a service that is not held: the name twice, its place in a dictionary.
NAME_BYTES: Final = 210
_MAX_DEPTH: Final = 32
_SHARED_KEY: Final = 32


def instance_bytes(instance: Instance) -> int:
    """Return about how many bytes a catalogue takes more for having `instance`."""
    size = sys.getsizeof(instance) + INDEX_BYTES + ADDRESS_BYTES * max(1, len(instance.addresses))
    # Name, version, zone, health path and each tag are one object for all who have them: they count to the service.
    size += sys.getsizeof(instance.instance_id)
    if instance.host not in instance.addresses[:1]:
        size += sys.getsizeof(instance.host)
    size += _walked(instance.addresses, 0) if instance.addresses else 0
    size += sys.getsizeof(instance.tags) if instance.tags else 0
    return size + (_walked(instance.metadata, 0) if instance.metadata else 0)


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
