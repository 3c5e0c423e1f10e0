"""Estimates the memory of an instance: the record, and its entries in a catalogue's indexes. Pure.

The record is measured by walking it, once per insert; the size of the index entries is a constant, which a test
compares with what Python really allocates.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from registry_core.domain.records import Instance

# The catalogue's dictionaries, keys and cached answers, per instance and per address.
INDEX_BYTES: Final = 260
ADDRESS_BYTES: Final = 40
# Per service: its name, its dictionary, its cached answer, its entry in the LRU.
SERVICE_BYTES: Final = 740
# Per name of a service that is not held: the name twice, and its dictionary entry.
NAME_BYTES: Final = 195
_MAX_DEPTH: Final = 32
_SHARED_KEY: Final = 32


def instance_bytes(instance: Instance) -> int:
    """Return about how many bytes `instance` adds to a catalogue."""
    size = sys.getsizeof(instance) + INDEX_BYTES + ADDRESS_BYTES * max(1, len(instance.addresses))
    # Name, version, zone, health path and tags are objects shared by the service's instances: they count there.
    size += sys.getsizeof(instance.instance_id)
    if instance.host not in instance.addresses[:1]:
        size += sys.getsizeof(instance.host)
    size += _walked(instance.addresses, 0) if instance.addresses else 0
    size += sys.getsizeof(instance.tags) if instance.tags else 0
    return size + (_walked(instance.metadata, 0) if instance.metadata else 0)


def _walked(value: Any, depth: int) -> int:
    """Return the bytes of a JSON value, down to the depth a registration may have."""
    size = sys.getsizeof(value)
    if depth == _MAX_DEPTH:
        return size
    if isinstance(value, dict):
        return size + sum(_key_bytes(key) + _walked(inner, depth + 1) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return size + sum(_walked(inner, depth + 1) for inner in value)
    return size


def _key_bytes(key: str) -> int:
    # The decoder caches short keys and shares the object.
    return sys.getsizeof(key) if len(key) > _SHARED_KEY else 0
