"""The changes that a watch reader makes of the stream's lines, for its view to apply in order."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Event
from registry_core.domain.records import InstanceKey
from registry_core.watch.cursor import Cursor
from registry_core.watch.stage import Rest


class Replaced(msgspec.Struct, frozen=True):
    """All instances as of `cursor`: those that the stage kept, and a summary of the rest.

    Not `whole`: part of it could not be read, so a missing instance may exist.
    """

    instances: tuple[Lived, ...]
    cursor: Cursor
    digest: str
    state: str
    reason: str
    rest: Rest = Rest()
    whole: bool = True


class Moved(msgspec.Struct, frozen=True):
    """The registry's history continues under another name: what was read still holds, except for these instances.

    `removed`: the removed instances, and how many instances their services have left. `is_resumed`: it is the history
    that was read before, some of whose events a replica cannot send.
    """

    instances: tuple[Lived, ...]
    cursor: Cursor
    digest: str
    state: str
    removed: tuple[tuple[InstanceKey, int], ...] = ()
    is_resumed: bool = False


class Happened(msgspec.Struct, frozen=True):
    """One event, after which the reader is at `cursor`.

    `change` is its effect on the registry's digest (exclusive or), and `count` the number of instances that the
    service then has; None and -1 when the registry does not send them.
    """

    event: Event
    cursor: Cursor
    change: int | None = None
    count: int = -1


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a later release that this reader does not know: its service must be read again.

    The label is "" when the event does not name its service.
    """

    label: str
    cursor: Cursor
    change: int | None
    problem: str


class PassedOver(msgspec.Struct, frozen=True):
    """A line, or part of one, that was skipped because it is unreadable."""

    problem: str


class Heard(msgspec.Struct, frozen=True):
    """Renewed leases, each with its time (Unix seconds, the registry's clock). Sent by registries of version 1."""

    renewed: tuple[tuple[InstanceKey, float], ...]


class LeaseReport(msgspec.Struct, frozen=True):
    """The late leases of a sign of life; all others were renewed within `late_after_s`.

    Not `all_named`: more leases are late than it names.
    """

    late_after_s: float
    late: dict[InstanceKey, float]  # the time of each last heartbeat (Unix seconds, the registry's clock)
    all_named: bool = True


class Synced(msgspec.Struct, frozen=True):
    """The sign of life: everything up to `cursor` has been read, and has this `digest`.

    The digest is "" when this replica is behind what was read from another one, and so cannot know. `store_age_s` is
    None until the replica has read its store. `unread` lists the shards of the store that it could not read yet.
    """

    cursor: Cursor
    digest: str
    state: str
    store_age_s: float | None
    unread: tuple[str, ...] = ()
    leases: LeaseReport | None = None


class SentOn(msgspec.Struct, frozen=True):
    """The replica stops: resume elsewhere, at a random moment within `within_s`. Nothing else follows."""

    within_s: float
    replicas: tuple[str, ...] = ()


WatchChange: TypeAlias = Replaced | Moved | Happened | UnknownEvent | PassedOver | Heard | Synced | SentOn
