"""The digest of a catalogue: equal for equal catalogues, whatever their history.

It is the exclusive or of one hash for each instance, so that a change costs one hash, and so that what one change does
to it is a number of its own, whoever applies it. The hash is over a list of fields with a version. A field that a later
release adds to `Instance` is not in the list of this one, so that two releases still agree on what they both know.
"""

from __future__ import annotations

import hashlib
from operator import attrgetter
from typing import Any, Final

import msgspec

from registry_core.domain.records import Instance, Protocol, Status


class _FieldsOfVersion1(msgspec.Struct, frozen=True, gc=False):
    """What the digest is over, in this order. Never changed: a new list is a new version."""

    service_name: str
    instance_id: str
    host: str
    port: int
    addresses: tuple[str, ...]
    health_endpoint: str
    protocol: Protocol
    version: str
    weight: int
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    zone: str
    status: Status
    epoch: int
    registered_at: float
    suspect: bool


_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_FIELDS: Final = attrgetter(*_FieldsOfVersion1.__struct_fields__)


def instance_digest(instance: Instance) -> int:
    """Return what one instance adds to the digest of a catalogue (exclusive or): 64 bits of BLAKE2b."""
    encoded = _ENCODER.encode(_FieldsOfVersion1(*_FIELDS(instance)))
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest())


def digest_text(digest: int) -> str:
    """Return a digest, or what a change does to it, as it is written: 16 hexadecimal digits."""
    return f"{digest:016x}"


def digest_number(text: str) -> int | None:
    """Return the digest that `text` stands for; None for what is none, such as the empty text."""
    try:
        return int(text, 16)
    except ValueError:
        return None
