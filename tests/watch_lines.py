"""Lines of the watch stream, as registries with either protocol version send them."""

from __future__ import annotations

from collections.abc import Iterable

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Position
from registry_core.watch.cursor import Cursor
from registry_core.watch.lines import StateEvent, SyncLine, encoded, event_line, event_line_of_version_1
from registry_core.watch.snapshot import SharedSnapshot


def event(happened: StateEvent, service_name: str, *, change: int = 0, count: int = 1) -> bytes:
    """Return an event in protocol version 2."""
    return event_line(happened, service_name, change=change, count=count)


def event_of_version_1(happened: StateEvent, service_name: str, cursor: Cursor, *, digest: int = 0) -> bytes:
    """Return an event in protocol version 1."""
    return event_line_of_version_1(event(happened, service_name), cursor, digest)


def snapshot(
    instances: Iterable[Lived], *, cursor: Cursor, digest: str, reason: str = "start", state: str = "ready"
) -> list[bytes]:
    """Return the lines of a snapshot."""

    def too_large(key: object, size: int) -> None:
        raise AssertionError((key, size))

    whole = SharedSnapshot(tuple(instances), state=state, cursor=cursor, digest=digest, too_large=too_large)
    return list(whole.lines(reason))


def sync(cursor: Cursor, *, digest: str, state: str = "ready", store_age_s: float | None = 0.0) -> bytes:
    """Return a sync line."""
    return encoded(SyncLine(cursor=str(cursor), digest=digest, state=state, store_age_s=store_age_s))


def at(revision: int, epoch: str = "e1", shard: int = 0) -> Position:
    """Return a position."""
    return Position(shard, epoch, revision)
