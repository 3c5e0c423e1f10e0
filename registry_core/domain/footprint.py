"""Estimates the memory of an instance: the record, and its entries in a catalogue's indexes. Pure.

The record is measured by walking it, once per insert; the size of the index entries is a constant, which a test
compares with what Python really allocates.
"""

from __future__ import annotations

from sys import getsizeof
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
    addresses, tags, metadata = instance.addresses, instance.tags, instance.metadata
    # Name, version, zone, health path and tags are objects shared by the service's instances: they count there.
    size = getsizeof(instance) + INDEX_BYTES + ADDRESS_BYTES * (len(addresses) or 1) + getsizeof(instance.instance_id)
    if instance.host not in addresses[:1]:
        size += getsizeof(instance.host)
    if addresses:
        size += getsizeof(addresses) + sum(map(getsizeof, addresses))
    if tags:
        size += getsizeof(tags)
    return size + _walked(metadata, 0) if metadata else size


def _walked(value: Any, depth: int) -> int:
    """Return the bytes of a JSON value, down to the depth a registration may have."""
    size = getsizeof(value)
    if depth == _MAX_DEPTH:
        return size
    if isinstance(value, dict):
        # The decoder caches short keys and shares the object. Nearly all values are texts.
        for key, inner in value.items():
            if len(key) > _SHARED_KEY:
                size += getsizeof(key)
            size += getsizeof(inner) if type(inner) is str else _walked(inner, depth + 1)
        return size
    if isinstance(value, list | tuple):
        return size + sum(_walked(inner, depth + 1) for inner in value)
    return size
