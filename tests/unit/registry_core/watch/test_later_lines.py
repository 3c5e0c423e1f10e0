"""How an event is read when only a later release knows its status or protocol."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry_core.domain.records import Protocol, Status
from registry_core.watch.changes import UnknownEvent
from registry_core.watch.cursor import cursor_of
from registry_core.watch.later_lines import EVENTS, WHOLES, AnyLine, event_with_foreign_values
from registry_core.watch.lines import DeregisteredLine, ExpiredLine, RegisteredLine, StatusChangedLine
from registry_core.watch.reader import WatchReader
from tests.watch_lines import at, snapshot, sync


def registered(**more: Any) -> dict[str, Any]:
    record = {"service_name": "billing", "instance_id": "a", "host": "10.0.0.7", "port": 80, **more}
    return {"position": "0.e1.2", "change": "0f", "count": 3, "instance": record, "heartbeat_at": 7.5}


def status_changed(status: object) -> dict[str, Any]:
    return {"position": "0.e1.2", "service_name": "billing", "instance_id": "a", "status": status}


def test_a_registration_keeps_an_unknown_status_and_protocol() -> None:
    line = event_with_foreign_values("registered", registered(status="resting", protocol="quic", weight=4))
    assert isinstance(line, RegisteredLine)
    assert (line.position, line.change, line.count, line.heartbeat_at) == ("0.e1.2", "0f", 3, 7.5)
    assert (line.instance.service_name, line.instance.instance_id) == ("billing", "a")
    assert (line.instance.host, line.instance.port, line.instance.weight) == ("10.0.0.7", 80, 4)
    assert (line.instance.status, line.instance.protocol) == ("resting", "quic")
    assert line.instance.status not in list(Status)
    assert line.instance.protocol not in list(Protocol)


def test_a_registration_without_status_and_protocol_has_the_defaults() -> None:
    line = event_with_foreign_values("registered", registered())
    assert isinstance(line, RegisteredLine)
    assert line.instance.status is Status.PASSING
    assert line.instance.protocol is Protocol.HTTP


def test_fields_of_a_later_release_are_dropped() -> None:
    line = event_with_foreign_values("registered", {**registered(shoe_size=43), "colour": "red"})
    assert line == event_with_foreign_values("registered", registered())


def test_a_new_status_is_kept_unchanged() -> None:
    line = event_with_foreign_values("status_changed", status_changed("resting"))
    assert isinstance(line, StatusChangedLine)
    assert (line.service_name, line.instance_id, line.status) == ("billing", "a", "resting")


def test_a_known_status_becomes_the_enum_member() -> None:
    line = event_with_foreign_values("status_changed", status_changed("warning"))
    assert isinstance(line, StatusChangedLine)
    assert line.status is Status.WARNING


@pytest.mark.parametrize(("kind", "line"), [("deregistered", DeregisteredLine), ("expired", ExpiredLine)])
def test_an_event_without_such_values_is_read_normally(kind: str, line: type[msgspec.Struct]) -> None:
    raw = {"position": "0.e1.2", "service_name": "billing", "instance_id": "a"}
    assert event_with_foreign_values(kind, raw) == line(**raw)


@pytest.mark.parametrize("status", [None, 7, "", "two words", "x" * 33, ["passing"], {"status": "passing"}])
def test_a_value_that_no_release_could_use_as_a_status_is_refused(status: object) -> None:
    with pytest.raises(ValueError, match="is not a valid Status"):
        event_with_foreign_values("status_changed", status_changed(status))
    with pytest.raises(ValueError, match="is not a valid Status"):
        event_with_foreign_values("registered", registered(status=status))


@pytest.mark.parametrize("instance", [None, [], "billing", 7])
def test_a_registration_without_a_record_is_refused(instance: object) -> None:
    with pytest.raises(ValueError, match="no instance"):
        event_with_foreign_values("registered", {**registered(), "instance": instance})
    with pytest.raises(ValueError, match="no instance"):
        event_with_foreign_values("registered", {"position": "0.e1.2", "heartbeat_at": 7.5})


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("registered", {"instance": {"service_name": "billing"}, "heartbeat_at": 7.5}),
        ("registered", {"instance": registered()["instance"]}),
        ("registered", registered(port="eighty")),
        ("status_changed", {"service_name": "billing", "status": "resting"}),
        ("deregistered", {"service_name": "billing"}),
        ("expired", {"service_name": "billing", "instance_id": 7}),
    ],
)
def test_an_event_that_lacks_something_is_refused(kind: str, raw: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        event_with_foreign_values(kind, raw)


@pytest.mark.parametrize("more", ["", ',"instance":null'])
def test_a_watch_continues_after_a_registration_without_a_record(more: str) -> None:
    reader = WatchReader(cursor_of([]))
    for line in snapshot([], cursor=cursor_of([at(1)]), digest="0"):
        list(reader.feed(line))
    event = f'{{"type":"registered","position":"0.e1.2","change":"0f","service_name":"billing"{more}}}\n'
    (change,) = reader.feed(event.encode())
    assert isinstance(change, UnknownEvent)
    assert (change.label, change.cursor) == ("billing", cursor_of([at(2)]))
    assert len(list(reader.feed(sync(cursor_of([at(2)]), digest="0")))) == 1


def test_the_type_of_any_line_can_be_read_whatever_else_it_has() -> None:
    known = msgspec.json.decode(b'{"type":"renamed","position":"0.e1.2","to":{"a":[1]}}', type=AnyLine)
    assert known == AnyLine("renamed", position="0.e1.2")
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"position":"0.e1.2"}', type=AnyLine)


def test_each_line_class_is_named_by_its_type_on_the_wire() -> None:
    for name, kind in {**EVENTS, **WHOLES}.items():
        assert kind.__struct_config__.tag == name
