"""What a reader of a watch makes of its lines: the changes that its view takes, one after the other."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Event
from registry_core.domain.records import InstanceKey
from registry_core.watch.cursor import Cursor
from registry_core.watch.stage import Rest


class Replaced(msgspec.Struct, frozen=True):
    """Everything there is, as of `cursor`: what the stage has kept, and what it says of the rest.

    Not `whole`: a part of it could not be read, so what is missing may well be there.
    """

    instances: tuple[Lived, ...]
    cursor: Cursor
    digest: str
    state: str
    reason: str
    rest: Rest = Rest()
    whole: bool = True


class Moved(msgspec.Struct, frozen=True):
    """The registry's history goes on under another name: all that was read holds, but for these instances.

    `removed`: who was taken out, and how many instances the service has left.
    """

    instances: tuple[Lived, ...]
    cursor: Cursor
    digest: str
    state: str
    removed: tuple[tuple[InstanceKey, int], ...] = ()


class Happened(msgspec.Struct, frozen=True):
    """One event, after which the reader stands at `cursor`.

    `change` is what it did to the registry's digest (exclusive or), and `count` how many instances the service then
    has; None and -1 when the registry does not say.
    """

    event: Event
    cursor: Cursor
    change: int | None = None
    count: int = -1


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event that a later registry knows, and this reader does not: its service has to be read anew.

    "" for the label: it does not say which service it is about.
    """

    label: str
    cursor: Cursor
    change: int | None
    problem: str


class PassedOver(msgspec.Struct, frozen=True):
    """A line, or a part of one, that could not be read and was passed over."""

    problem: str


class Heard(msgspec.Struct, frozen=True):
    """Leases that were renewed: of whom, and when (Unix seconds, the registry's clock). Of registries of version 1."""

    renewed: tuple[tuple[InstanceKey, float], ...]


class LeaseReport(msgspec.Struct, frozen=True):
    """Which leases a sign of life says to be late: all others were renewed within `late_after_s`.

    Not `all_named`: there are more late ones than it names.
    """

    late_after_s: float
    late: dict[InstanceKey, float]  # of each, when it was last heard of (Unix seconds, the registry's clock)
    all_named: bool = True


class Synced(msgspec.Struct, frozen=True):
    """The sign of life: all up to `cursor` has been read, and makes this `digest`.

    "" for the digest: this replica is behind what was read from another one, and cannot tell. `store_age_s` is None
    while the replica has read nothing of its store. `unread` are the shards of the store that it could not read yet.
    """

    cursor: Cursor
    digest: str
    state: str
    store_age_s: float | None
    unread: tuple[str, ...] = ()
    leases: LeaseReport | None = None


WatchChange: TypeAlias = Replaced | Moved | Happened | UnknownEvent | PassedOver | Heard | Synced
