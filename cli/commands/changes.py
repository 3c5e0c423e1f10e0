"""Turns the lines of a watch stream into text for people: one line per change.

Pure: it reads no socket and prints nothing. It remembers each instance's address and status, so that
a snapshot after a broken stream shows only what changed meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from cli.plurals import counted
from registry_core.domain.host_port import host_port
from registry_core.domain.names import label_of
from registry_core.watch.cursor import Cursor, parse_cursor


class RememberedInstance(NamedTuple):
    """The last known state of an instance. `record` is the whole record, to detect any change."""

    address: str
    status: str
    suspect: bool
    record: str


class Changes:
    """Follows one watch stream across reconnections."""

    def __init__(self) -> None:
        self.cursor = ""
        self._known: dict[tuple[str, str], RememberedInstance] = {}
        self._parts: list[Any] = []
        self._began = False

    def take(self, line: dict[str, Any]) -> Iterator[str]:
        """Take one line of the stream; return a text for each change in it."""
        kind = line.get("type")
        if kind == "snapshot":
            yield from self._snapshot(line)
            return
        read = parse_cursor(self.cursor)
        if line.get("position"):
            told = parse_cursor(str(line["position"]))
            if read.covers(told):
                return  # from a replica that lags behind the previous one
            self.cursor = str(read.moved_to(told.positions[0]))
        elif line.get("cursor") and not (kind == "sync" and _is_behind(parse_cursor(str(line["cursor"])), read)):
            self.cursor = str(line["cursor"])
        if kind == "registered":
            yield from self._put(line["instance"])
        elif kind == "moved":
            for lived in line["instances"]:
                yield from self._put(lived["instance"])
            # As with a snapshot: a registry that has just started does not know yet which instances are gone.
            gone = {(label, instance_id) for label, instance_id, _ in line.get("removed", ())}
            if gone and line["state"] == "ready":
                for name, instance_id in [key for key in self._known if (label_of(key[0]), key[1]) in gone]:
                    yield from self._drop((name, instance_id), "gone")
        elif kind == "status_changed":
            key = (line["service_name"], line["instance_id"])
            held = self._known.get(key)
            if held is not None and held.status != line["status"]:
                self._known[key] = held._replace(status=line["status"])
                yield f"~ {key[0]} {held.address} {held.status} -> {line['status']}"
        elif kind in ("deregistered", "expired"):
            yield from self._drop((line["service_name"], line["instance_id"]), kind)

    def _snapshot(self, line: dict[str, Any]) -> Iterator[str]:
        if line["first"]:
            self._parts = []
        self._parts += line["instances"]
        if not line["last"]:
            return
        self.cursor = str(line["cursor"])
        instances = [lived["instance"] for lived in self._parts]
        self._parts = []
        if not self._began:
            self._began = True
            for instance in instances:
                self._known[_key(instance)] = _known(instance)
            services = counted(len({key[0] for key in self._known}), "service")
            yield f"watching {services}, {counted(len(self._known), 'instance')}"
            if line["state"] != "ready":
                yield f"the registry is {line['state']}: there may be more that it does not know yet"
            return
        # A registry that has just started does not know yet which instances are alive: a missing one is not gone.
        if line["state"] == "ready":
            there = {_key(instance) for instance in instances}
            for key in [key for key in self._known if key not in there]:
                yield from self._drop(key, "gone")
        for instance in instances:
            yield from self._put(instance)

    def _put(self, instance: dict[str, Any]) -> Iterator[str]:
        key, now = _key(instance), _known(instance)
        held = self._known.get(key)
        self._known[key] = now
        if held is None:
            yield f"+ {key[0]} {now.address} {now.status}"
        elif held != now:
            yield f"~ {key[0]} {now.address} {_difference(held, now)}"

    def _drop(self, key: tuple[str, str], why: str) -> Iterator[str]:
        held = self._known.pop(key, None)
        if held is not None:
            yield f"- {key[0]} {held.address} {why}"


def _is_behind(told: Cursor, read: Cursor) -> bool:
    return read.covers(told) and len(told.positions) == len(read.positions)


def _difference(held: RememberedInstance, now: RememberedInstance) -> str:
    if held.status != now.status:
        return f"{held.status} -> {now.status}"
    if held.suspect != now.suspect:
        return "suspect: no heartbeats" if now.suspect else "heartbeats again"
    return "changed"


def _key(instance: dict[str, Any]) -> tuple[str, str]:
    return instance["service_name"], instance["instance_id"]


def _known(instance: dict[str, Any]) -> RememberedInstance:
    # The status is compared separately, since it has lines of its own; the time of registration means
    # nothing to a reader.
    rest = {k: v for k, v in instance.items() if k not in ("status", "registered_at", "epoch")}
    return RememberedInstance(
        address=host_port(instance["host"], instance["port"]),
        status=instance.get("status", "passing"),
        suspect=bool(instance.get("suspect", False)),
        record=json.dumps(rest, sort_keys=True),
    )
