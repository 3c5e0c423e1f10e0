"""The digest of a catalogue: equal for equal catalogues, whatever their history.

It is the exclusive or of one hash per instance. So a change costs one hash, and its effect on the digest is a number
that is the same for every reader. The hash covers a versioned list of fields. A field that a later release adds to
`Instance` is not in this list, so two releases still agree on the fields that both know.
"""

from __future__ import annotations

import hashlib
from operator import attrgetter
from typing import Any, Final

import msgspec

from registry_core.domain.encoding import instance_json
from registry_core.domain.records import Instance, Protocol, Status


class _FieldsOfVersion1(msgspec.Struct, frozen=True, gc=False):
    """The fields that the digest covers, in this order. Never change it: a new list is a new version."""

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
# While a record has just these fields, what it is encoded as elsewhere is what the digest covers.
_IS_WHOLE: Final = Instance.__struct_fields__ == _FieldsOfVersion1.__struct_fields__


def instance_digest(instance: Instance) -> int:
    """Return one instance's part in the digest of a catalogue (exclusive or): 64 bits of BLAKE2b."""
    if type(instance) is Instance and _IS_WHOLE:
        encoded = instance_json(instance)
    else:
        encoded = _ENCODER.encode(_FieldsOfVersion1(*_FIELDS(instance)))
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest())


def digest_text(digest: int) -> str:
    """Return a digest, or the change of one, as 16 hexadecimal digits."""
    return f"{digest:016x}"


def digest_number(text: str) -> int | None:
    """Return the digest written as `text`; None when `text` is not a digest, such as the empty text."""
    try:
        return int(text, 16)
    except ValueError:
        return None
