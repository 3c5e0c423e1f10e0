"""What a reader of a watch stream is shown."""

from __future__ import annotations

import copy
from typing import Any

from cli.commands.changes import Changes


def instance(name: str = "abc", host: str = "10.0.0.1", **fields: Any) -> dict[str, Any]:
    instance_id = f"{host}:80"
    return {"service_name": name, "instance_id": instance_id, "host": host, "port": 80, "status": "passing", **fields}


def snapshot(*instances: dict[str, Any], first: bool = True, last: bool = True, state: str = "ready") -> dict[str, Any]:
    lived = [{"instance": i, "heartbeat_at": 1.0} for i in instances]
    cursor = "0.e.1" if last else ""
    return {"type": "snapshot", "first": first, "last": last, "state": state, "cursor": cursor, "instances": lived}


def registered(one: dict[str, Any]) -> dict[str, Any]:
    return {"type": "registered", "cursor": "0.e.2", "instance": one, "heartbeat_at": 1.0}


def about(kind: str, name: str = "abc", host: str = "10.0.0.1", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "cursor": "0.e.3", "service_name": name, "instance_id": f"{host}:80", **fields}


def shown(changes: Changes, *lines: dict[str, Any]) -> list[str]:
    return [text for line in lines for text in changes.take(copy.deepcopy(line))]


def test_the_first_snapshot_is_counted_once_all_its_parts_arrived() -> None:
    changes = Changes()
    assert shown(changes, snapshot(instance(), last=False)) == []
    assert changes.cursor == ""
    assert shown(changes, snapshot(instance(host="10.0.0.2"), first=False)) == ["watching 1 service, 2 instances"]
    assert changes.cursor == "0.e.1"


def test_the_first_snapshot_of_a_warming_registry_is_not_called_everything() -> None:
    assert shown(Changes(), snapshot(state="warming")) == [
        "watching 0 services, 0 instances",
        "the registry is warming: there may be more that it does not know yet",
    ]


def test_every_change_is_one_line_and_moves_the_cursor() -> None:
    changes = Changes()
    assert shown(
        changes,
        snapshot(),
        registered(instance()),
        registered(instance()),
        registered(instance(weight=3)),
        about("status_changed", status="critical"),
        about("status_changed", status="critical"),
        registered(instance(weight=3)),
        registered(instance("six", host="fd00::1")),
        about("deregistered"),
        about("deregistered"),
        about("status_changed", status="critical"),
        about("expired", "six", "fd00::1"),
    ) == [
        "watching 0 services, 0 instances",
        "+ abc 10.0.0.1:80 passing",
        "~ abc 10.0.0.1:80 changed",
        "~ abc 10.0.0.1:80 passing -> critical",
        "~ abc 10.0.0.1:80 critical -> passing",
        "+ six [fd00::1]:80 passing",
        "- abc 10.0.0.1:80 deregistered",
        "- six [fd00::1]:80 expired",
    ]
    assert changes.cursor == "0.e.3"


def test_suspects_and_their_return_are_shown() -> None:
    changes = Changes()
    assert shown(
        changes,
        snapshot(instance(suspect=False)),
        registered(instance(suspect=True)),
        registered(instance(suspect=True, status="critical")),
        registered(instance(suspect=False, status="critical")),
    ) == [
        "watching 1 service, 1 instance",
        "~ abc 10.0.0.1:80 suspect: no heartbeats",
        "~ abc 10.0.0.1:80 passing -> critical",
        "~ abc 10.0.0.1:80 heartbeats again",
    ]


def test_a_later_snapshot_shows_what_changed_meanwhile() -> None:
    changes = Changes()
    shown(changes, snapshot(instance(), instance("def"), instance("ghi")))
    later = snapshot(instance(), instance("def", status="critical"), instance("jkl"))
    assert shown(changes, later) == [
        "- ghi 10.0.0.1:80 gone",
        "~ def 10.0.0.1:80 passing -> critical",
        "+ jkl 10.0.0.1:80 passing",
    ]


def test_instances_that_a_warming_registry_lacks_are_not_shown_as_gone() -> None:
    changes = Changes()
    shown(changes, snapshot(instance()))
    assert shown(changes, snapshot(state="warming")) == []
    assert shown(changes, registered(instance(registered_at=2.0, epoch=7))) == []


def test_only_the_differences_of_another_history_are_shown() -> None:
    changes = Changes()
    shown(changes, snapshot(instance()))
    line = {"type": "moved", "cursor": "0.e2.9", "instances": [{"instance": instance("xyz"), "heartbeat_at": 1.0}]}
    assert [text.split()[:2] for text in shown(changes, line)] == [["+", "xyz"]]
    assert changes.cursor == "0.e2.9"


def test_an_instance_missing_in_another_history_is_gone() -> None:
    changes = Changes()
    shown(changes, snapshot(instance("a_b"), instance("a_b", host="10.0.0.2")))
    moved = {"type": "moved", "cursor": "0.f.1", "instances": [], "removed": [["a-b", "10.0.0.1:80", 1]]}
    assert shown(changes, {**moved, "state": "warming"}) == []
    assert shown(changes, {**moved, "state": "ready"}) == ["- a_b 10.0.0.1:80 gone"]


def test_a_lagging_replica_shows_nothing_twice_and_does_not_move_the_cursor_back() -> None:
    changes = Changes()
    shown(changes, {**snapshot(instance()), "cursor": "0.e.5"})
    again = {"position": "0.e.4", "cursor": ""}
    assert shown(changes, {"type": "sync", "cursor": "0.e.3"}, {**about("deregistered"), **again}) == []
    assert changes.cursor == "0.e.5"
    assert shown(changes, {**about("deregistered"), **again, "position": "0.e.6"}) == ["- abc 10.0.0.1:80 deregistered"]
    assert changes.cursor == "0.e.6"


def test_sync_and_unknown_lines_change_only_the_cursor() -> None:
    changes = Changes()
    assert shown(changes, {"type": "sync", "cursor": "0.e.9"}, {"type": "renewed", "renewed": []}, {"type": "?"}) == []
    assert changes.cursor == "0.e.9"
