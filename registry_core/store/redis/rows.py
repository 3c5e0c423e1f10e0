"""Translates what is stored in Redis to our types: fields, values and stream entries. Pure.

A value is one line that the scripts decide by, then the instance as JSON. Where the two differ, the
line is right. The JSON ends with the order of the write.

Reading is lenient towards later releases: an unknown status or protocol is read as the nearest one that promises
nothing. What cannot be read at all becomes an Unreadable for that one entry, never an error for the whole.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.encoding import claim_json
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, StatusChanged
from registry_core.domain.foreign_values import enum_value, record_of
from registry_core.domain.host_port import split_host_port
from registry_core.domain.names import MAX_LABEL_LENGTH, label_of
from registry_core.domain.records import Instance, InstanceKey, Status
from registry_core.watch.limits import MAX_RECORD_BYTES

_DECODER: Final = msgspec.json.Decoder(Instance)
# The words of the line, in order, each with the Lua pattern it must match: the scripts' only list of fields.
LINE: Final = {"epoch": "%d+", "registered_at": "%d+", "status": "%S+", "suspect": "[01]", "address": "%S+"}
_STATUSES: Final = {status.value.encode(): status for status in Status}
REMEMBERED_VALUES: Final = 2_000
_ORDER_MEMBER: Final = b',"order":"'
# Stands for revisions that concern no instance: readers must count them nevertheless.
NOBODY: Final = InstanceKey("-", "-")


class Order(msgspec.Struct, frozen=True, gc=False):
    """The place of a write among the others of its instance. `sequence` is its owner's, or None."""

    life: int
    revision: int
    sequence: int | None = None

    def __str__(self) -> str:
        return f"{'-' if self.sequence is None else self.sequence} {self.life} {self.revision}"

    def comes_after(self, other: Order) -> bool:
        """Return whether this write came later: its stamp is higher."""
        return (self.life, self.revision) > (other.life, other.revision)


class StoredRecord(msgspec.Struct, frozen=True, gc=False):
    """A value: an instance, and the order of the write that made it, or None when the previous release wrote it."""

    instance: Instance
    order: Order | None


class Unreadable(msgspec.Struct, frozen=True):
    """One entry of the shard that cannot be read: its field, and why. `label` is "" when no service is named."""

    field: str
    reason: str
    label: str = ""


class StreamEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry of the stream: its revision, its instance, and the event as far as it can be read.

    `event` None: the record itself has to be read. `order` None: the previous release wrote it.
    """

    revision: int
    field: bytes
    event: Event | None
    order: Order | None = None
    epoch: int = 0  # of the owner that was removed


def field_of(key: InstanceKey) -> str:
    """Return the field of `key`: neither part of it has a slash."""
    return f"{key.label}/{key.instance_id}"


def key_of(field: bytes) -> InstanceKey:
    """Return the key of a field. Raises ValueError when the field is malformed."""
    label, slash, instance_id = field.decode().partition("/")
    if not (label and slash and instance_id) or "/" in instance_id:
        raise ValueError("it is not a field of this registry")
    return InstanceKey(label, instance_id)


def unreadable(field: bytes, reason: object) -> Unreadable:
    """Return the Unreadable for a field and a reason."""
    shown = field.decode(errors="replace")
    label = shown.partition("/")[0]
    return Unreadable(shown[:200], " ".join(str(reason).split())[:200], label if len(label) <= MAX_LABEL_LENGTH else "")


def value_of(instance: Instance, order: Order) -> bytes:
    """Return the value that stores `instance`, with the order of its write."""
    line = (
        f"{instance.epoch} {round(instance.registered_at * 1000)} {instance.status.value} {int(instance.suspect)} "
        f"{instance.address}\n"
    )
    return b'%b%b%b%b"}' % (line.encode(), claim_json(instance)[:-1], _ORDER_MEMBER, str(order).encode())


@functools.lru_cache(maxsize=REMEMBERED_VALUES)
def stored_in(value: bytes) -> StoredRecord:
    """Return the record in a value. Raises ValueError when it holds no instance.

    Results are cached: the answer to a write, its acknowledgement and its event are the same bytes.
    """
    line, _, json = value.partition(b"\n")
    at = json.rfind(_ORDER_MEMBER)
    order = _order(json[at + len(_ORDER_MEMBER) : -2]) if at >= 0 and json.endswith(b'"}') else None
    return StoredRecord(_instance(line, json), order)


def holder_in(key: InstanceKey, value: bytes) -> Instance:
    """Return the instance in a value; one with nothing but the key and the address when its JSON cannot be read.

    Raises ValueError when even its line cannot be read, which no script returns.
    """
    try:
        return stored_in(value).instance
    except (ValueError, msgspec.MsgspecError):
        host, port = split_host_port(value.partition(b"\n")[0].split(b" ")[4].decode())
        return Instance(service_name=key.label, instance_id=key.instance_id, host=host, port=port or 0)


def _order(text: bytes) -> Order | None:
    words = text.split(b" ")
    if len(words) != 3 or not (words[1].isdigit() and words[2].isdigit()):
        return None
    return Order(int(words[1]), int(words[2]), int(words[0]) if words[0].isdigit() else None)


def removal_of(text: bytes) -> tuple[int, Order | None]:
    """Return the epoch and order of a removal, from `epoch sequence life revision`."""
    epoch, _, rest = text.partition(b" ")
    return (int(epoch), _order(rest)) if epoch.isdigit() else (0, None)


def _instance(line: bytes, json: bytes) -> Instance:
    if len(json) > MAX_RECORD_BYTES:
        raise ValueError(f"it has {len(json)} bytes, and a record has at most {MAX_RECORD_BYTES}")
    epoch, registered_ms, status, suspect, _address = line.split(b" ")
    try:
        instance = _DECODER.decode(json)
    except msgspec.ValidationError:
        instance = _decoded_leniently(json)
    return msgspec.structs.replace(
        instance,
        epoch=int(epoch),
        registered_at=int(registered_ms) / 1000,
        status=_status_of(status),
        suspect=suspect == b"1",
    )


def _decoded_leniently(json: bytes) -> Instance:
    """Return an instance, even one that a later release wrote. Raises ValueError."""
    fields = msgspec.json.decode(json)
    if not isinstance(fields, dict):
        raise msgspec.ValidationError("it is not an object")
    fields["status"] = Status.PASSING.value  # the line holds the real one
    return record_of(fields)


def _status_of(text: bytes) -> Status:
    """Return a status, even one of a later release; anything else is read as critical."""
    status = _STATUSES.get(text)
    if status is None:
        try:
            return enum_value(Status, text.decode())
        except ValueError:
            return Status.CRITICAL
    return status


def _check_key(instance: Instance, key: InstanceKey) -> None:
    if instance.instance_id != key.instance_id or label_of(instance.service_name) != key.label:
        raise ValueError("it is stored under the field of another instance")


def page_of(text: bytes) -> Iterator[tuple[InstanceKey, Lived] | Unreadable]:
    """Yield the records of a page, each made of four lines: field, last heartbeat, and the two of the value."""
    lines = text.split(b"\n") if text else []
    for field, heartbeat_ms, line, json in zip(lines[::4], lines[1::4], lines[2::4], lines[3::4], strict=True):
        try:
            key, instance = key_of(field), _instance(line, json)
            _check_key(instance, key)
            yield key, Lived(instance, int(heartbeat_ms) / 1000)
        except (ValueError, msgspec.MsgspecError) as error:
            yield unreadable(field, error)


def entry_of(shard: int, epoch: str, id_: bytes, entry: Mapping[bytes, bytes]) -> StreamEntry | Unreadable:
    """Return one entry of the stream, or an Unreadable."""
    field = entry.get(b"k", b"")
    try:
        revision = int(id_.partition(b"-")[0])
        key, position = key_of(field), Position(shard, epoch, revision)
        match entry.get(b"t"):
            case b"registered":
                stored = stored_in(entry[b"v"])
                _check_key(stored.instance, key)
                event: Event | None = Registered(position, stored.instance, int(entry[b"h"]) / 1000)
                return StreamEntry(revision, field, event, stored.order, stored.instance.epoch)
            case b"status_changed":
                status = _status_of(entry[b"s"])
                event = StatusChanged(position, key, status)
            case b"deregistered":
                event = Deregistered(position, key)
            case b"expired":
                event = Expired(position, key)
            case _:
                event = None  # of a later release: the record shows the outcome
        owner, order = removal_of(entry.get(b"o", b""))
        return StreamEntry(revision, field, event, order, owner)
    except (ValueError, KeyError, msgspec.MsgspecError) as error:
        return unreadable(field, error)


def paired(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the fields of a stream entry, which arrive as one flat list."""
    return dict(zip(flat[::2], flat[1::2], strict=False))


def ms(seconds: float) -> str:
    """Return a time in whole milliseconds, as the scripts take it."""
    return str(int(seconds * 1000))
