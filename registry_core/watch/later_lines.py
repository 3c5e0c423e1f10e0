"""Reads what it can of the lines that only a later release knows in full. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registry_core.domain.foreign_values import enum_value, record_of
from registry_core.domain.records import Status
from registry_core.watch.lines import (
    DeregisteredLine,
    EventLine,
    ExpiredLine,
    MovedLine,
    RegisteredLine,
    SnapshotLine,
    StatusChangedLine,
)

EVENTS: Final[dict[str, type[EventLine]]] = {
    "registered": RegisteredLine,
    "status_changed": StatusChangedLine,
    "deregistered": DeregisteredLine,
    "expired": ExpiredLine,
}
WHOLES: Final[dict[str, type[SnapshotLine | MovedLine]]] = {"snapshot": SnapshotLine, "moved": MovedLine}


class AnyLine(msgspec.Struct):
    """The fields that can be read of a line that is not known in full."""

    type: str
    position: str = ""
    change: str = ""
    service_name: str = ""
    instance: dict[str, Any] | None = None


def event_with_foreign_values(kind: str, raw: dict[str, Any]) -> EventLine:
    """Return an event whose status or protocol only a later release knows. Raises ValueError or MsgspecError."""
    if kind == "registered":
        fields = raw.pop("instance", None)
        if not isinstance(fields, dict):
            raise ValueError("it has no instance")
        instance = record_of(fields)
        raw["instance"] = {"service_name": instance.service_name, "instance_id": "", "host": "", "port": 0}
        line: EventLine = msgspec.convert(raw, RegisteredLine)
        return msgspec.structs.replace(line, instance=instance)
    if kind == "status_changed":
        status = enum_value(Status, raw.get("status"))
        raw["status"] = Status.CRITICAL.value
        return msgspec.structs.replace(msgspec.convert(raw, StatusChangedLine), status=status)
    return msgspec.convert(raw, EVENTS[kind])
