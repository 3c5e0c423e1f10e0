"""What stands in Redis, as our types: fields, values and the entries of the stream. Pure.

A value is a line of what the scripts decide by, and the instance as JSON below it. The line is right
where the two differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, StatusChanged
from registry_core.domain.records import Instance, InstanceKey, Registration, Status

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_DECODER: Final = msgspec.json.Decoder(Instance)
_STATUSES: Final = {status.value.encode(): status for status in Status}


def field_of(key: InstanceKey) -> str:
    """Return the field of `key`: neither part of it has a slash."""
    return f"{key.label}/{key.instance_id}"


def key_of(field: bytes) -> InstanceKey:
    """Return the key that a field stands for."""
    label, _, instance_id = field.decode().partition("/")
    return InstanceKey(label, instance_id)


def claim_json(claim: Registration) -> bytes:
    """Return the JSON below the line: equal for equal claims, without what the line holds."""
    fields = msgspec.structs.asdict(claim)
    fields |= {"epoch": 0, "status": Status.PASSING}
    return _ENCODER.encode(Instance(**fields))


def instance_of(value: bytes) -> Instance:
    """Return the instance that a value holds. Raises ValueError when it holds none."""
    line, _, json = value.partition(b"\n")
    return _instance(line, json)


def _instance(line: bytes, json: bytes) -> Instance:
    epoch, registered_ms, status, suspect, _address = line.split(b" ")
    return msgspec.structs.replace(
        _DECODER.decode(json),
        epoch=int(epoch),
        registered_at=int(registered_ms) / 1000,
        status=_STATUSES[status],
        suspect=suspect == b"1",
    )


def page_of(text: bytes) -> Iterator[Lived]:
    """Yield the records of a page: of each its last heartbeat, and the two lines of its value."""
    lines = text.split(b"\n") if text else []
    for heartbeat_ms, line, json in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        yield Lived(_instance(line, json), int(heartbeat_ms) / 1000)


def event_of(shard: int, epoch: str, id_: bytes, entry: Mapping[bytes, bytes]) -> Event:
    """Return the event that one entry of the stream tells. Raises ValueError or KeyError when it tells none."""
    position = Position(shard, epoch, int(id_.partition(b"-")[0]))
    key = key_of(entry[b"k"])
    match entry[b"t"]:
        case b"registered":
            return Registered(position, instance_of(entry[b"v"]), int(entry[b"h"]) / 1000)
        case b"status_changed":
            return StatusChanged(position, key, Status(entry[b"s"].decode()))
        case b"deregistered":
            return Deregistered(position, key)
        case b"expired":
            return Expired(position, key)
        case other:
            raise ValueError(f"an event of the unknown kind {other!r}")
