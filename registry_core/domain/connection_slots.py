"""Decides which connections a listener keeps when there is no room for all. Pure.

A connection is *idle* until a whole request has arrived, and again once that is answered; it is *busy* in between, and
a *stream* when that takes long, as a watch does. The longest idle one of the largest holder goes first. One with a
request in flight goes only if its owner holds a large part of all, and nobody's goes for one who holds more.

Whether a connection is busy is asked only when its place may be needed: a request that is answered at once costs here
no more than that its connection is now the last that became idle.

An *owner* is an address, or the network of one in IPv6; on loopback, where all addresses are this machine, it is the
process as far as that is known. A *shared* owner stands for many clients, as a reverse proxy does.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final, Generic, TypeVar

import msgspec

from registry_core.domain.names import unmapped

LOOPBACK: Final = "loopback"
# The network that one customer has at least: its addresses cannot be told apart.
_V6_PREFIX: Final = 64
# How many owners are looked at for one newcomer, the largest first.
_MOST_LOOKED_AT: Final = 1000

_USES: Final = ("idle", "busy", "streams")

C = TypeVar("C")


class SlotTerms(msgspec.Struct, frozen=True):
    """How many connections there may be, and how they are shared among their owners."""

    connections: int
    # Of one owner beyond loopback. A shared owner has no share.
    of_one_owner: int
    # An owner that holds more may lose connections with a request in flight.
    large: int
    # What has been idle or busy for less goes last: a client that has just connected needs a moment to ask.
    grace_s: float = 1.0
    # No request takes longer, except for streams.
    stream_s: float = 30.0


class Closing(enum.StrEnum):
    """Why a connection is closed, or was not accepted."""

    IDLE = "idle"  # for a newcomer
    BUSY = "busy"  # for a newcomer, with a request in flight
    STREAM = "stream"  # for a newcomer, in the middle of a stream
    FULL = "full"  # the newcomer itself: there is no room, and no other may go
    SHARE = "share"  # the newcomer itself: its owner holds its share, all in use
    HEADER = "header"  # the header of a request did not arrive in time
    TOO_LARGE = "too_large"  # the header of a request is too large
    UNREAD = "unread"  # the peer does not read its answers


class SlotVerdict(msgspec.Struct, Generic[C], frozen=True):
    """Whether a newcomer is admitted, and who goes for it; `why` either of them is closed."""

    admitted: bool
    victim: C | None = None
    why: Closing | None = None


class _SlotOwner(Generic[C]):
    """The connections of one owner: each with the time since when, the longest first."""

    __slots__ = ("busy", "idle", "is_capped", "is_shared", "name", "streams")

    def __init__(self, name: str, *, is_shared: bool) -> None:
        self.name = name
        self.is_shared = is_shared
        self.is_capped = not is_shared and name != LOOPBACK
        self.idle: dict[C, float] = {}
        self.busy: dict[C, float] = {}
        self.streams: dict[C, float] = {}

    def __len__(self) -> int:
        return len(self.idle) + len(self.busy) + len(self.streams)

    def longest_idle(self, busy_since: Callable[[C], float | None]) -> tuple[C, float] | None:
        """Return the connection that has been idle for longest, and since when; set busy ones aside."""
        while self.idle:
            connection, since = next(iter(self.idle.items()))
            began = busy_since(connection)
            if began is None:
                return connection, since
            del self.idle[connection]
            self.busy[connection] = began
        return None

    def busy_until_now(self, terms: SlotTerms, now: float) -> C | None:
        """Return a connection that has been busy for some time, but not for so long that it is a stream. Bounded."""
        for connection, began in tuple(islice(self.busy.items(), _MOST_LOOKED_AT)):
            if now - began >= terms.stream_s:
                self.streams[connection] = self.busy.pop(connection)
            elif now - began >= terms.grace_s:
                return connection
        return None


class ConnectionSlots(Generic[C]):
    """The connections of one listener. Times are of a monotonic clock, in seconds."""

    def __init__(self, terms: SlotTerms, busy_since: Callable[[C], float | None]) -> None:
        """`busy_since` tells since when a connection has had a request in flight."""
        self._terms = terms
        self._busy_since = busy_since
        self._owners: dict[str, _SlotOwner[C]] = {}
        self._owner_of: dict[C, _SlotOwner[C]] = {}
        # The owners by how many connections they hold.
        self._by_size: dict[int, dict[str, _SlotOwner[C]]] = {}

    def __len__(self) -> int:
        return len(self._owner_of)

    @property
    def is_full(self) -> bool:
        """Whether the next newcomer needs another's place."""
        return len(self._owner_of) >= self._terms.connections

    def enter(self, newcomer: C, owner: str, now: float, *, is_shared: bool = False) -> SlotVerdict[C]:
        """Return whether `newcomer` is admitted, idle at first, and which connection is closed for it."""
        known = self._owners.get(owner)
        held = len(known) if known is not None else 0
        found: tuple[C, Closing] | None = None
        if known is not None and known.is_capped and held >= self._terms.of_one_owner:
            own = known.longest_idle(self._busy_since)
            if own is None:
                return SlotVerdict(admitted=False, why=Closing.SHARE)
            found = own[0], Closing.IDLE
        elif self.is_full:
            found = self._victim(owner, 0 if is_shared else held, now)
            if found is None:
                return SlotVerdict(admitted=False, why=Closing.FULL)
        if found is not None:
            self.leave(found[0])
        self._add(newcomer, self._named(owner, is_shared=is_shared)).idle[newcomer] = now
        return SlotVerdict(True, *found) if found is not None else SlotVerdict(admitted=True)

    def rested(self, connection: C, now: float) -> None:
        """All that was asked is answered, or cannot be because the peer does not read."""
        owner = self._owner_of.get(connection)
        if owner is None:
            return
        if owner.idle.pop(connection, None) is None and owner.busy.pop(connection, None) is None:
            owner.streams.pop(connection, None)
        owner.idle[connection] = now

    def leave(self, connection: C) -> None:
        """A connection has ended. Safe to call twice."""
        owner = self._owner_of.pop(connection, None)
        if owner is not None:
            self._resize(owner, -1)
            owner.idle.pop(connection, None)
            owner.busy.pop(connection, None)
            owner.streams.pop(connection, None)

    def belong(self, owners: Mapping[C, str]) -> None:
        """Say whose these connections are, now that it is known."""
        changed: dict[str, _SlotOwner[C]] = {}
        for connection, name in owners.items():
            before = self._owner_of.get(connection)
            if before is None or before.name == name:
                continue
            uses = [use for use in _USES if connection in getattr(before, use)]
            moments = [getattr(before, use)[connection] for use in uses]
            self.leave(connection)
            changed[name] = owner = self._add(connection, self._named(name))
            for use, moment in zip(uses, moments, strict=True):
                getattr(owner, use)[connection] = moment
        for owner in changed.values():
            for use in _USES:
                setattr(owner, use, dict(sorted(getattr(owner, use).items(), key=lambda item: item[1])))

    def owner(self, connection: C) -> str:
        """Return whose a connection is, as far as is known; "" when it has ended."""
        owner = self._owner_of.get(connection)
        return owner.name if owner is not None else ""

    def held_by(self, name: str) -> int:
        """Return how many connections an owner holds."""
        owner = self._owners.get(name)
        return len(owner) if owner is not None else 0

    # -- who goes

    def _victim(self, newcomers: str, held: int, now: float) -> tuple[C, Closing] | None:
        """Return who goes for one of an owner that holds `held`."""
        terms = self._terms
        before = now - terms.grace_s
        owners = list(self._largest(max(1, held)))
        idle = [(owner, found) for owner in owners if (found := owner.longest_idle(self._busy_since)) is not None]
        for _, (connection, since) in idle:
            if since <= before:
                return connection, Closing.IDLE
        large = [owner for owner in owners if len(owner) > terms.large and not owner.is_shared]
        for owner in large:
            # Where most are idle, however shortly, it is those that take the place.
            if len(owner.busy) > len(owner.idle) and (busy := owner.busy_until_now(terms, now)) is not None:
                return busy, Closing.BUSY
        for owner in large:
            if owner.streams and owner.name != newcomers:
                return next(reversed(owner.streams)), Closing.STREAM
        return (idle[0][1][0], Closing.IDLE) if idle else None

    def _largest(self, least: int) -> Iterator[_SlotOwner[C]]:
        """Yield the owners that hold at least so many, the largest first and the shared ones last. Bounded."""
        shared: list[_SlotOwner[C]] = []
        looked_at = 0
        for size in sorted(self._by_size, reverse=True):
            for owner in self._by_size[size].values():
                looked_at += 1
                if looked_at > _MOST_LOOKED_AT:
                    break
                if owner.is_shared:
                    shared.append(owner)
                elif size >= least:
                    yield owner
        yield from shared

    # -- the books

    def _named(self, name: str, *, is_shared: bool = False) -> _SlotOwner[C]:
        owner = self._owners.get(name)
        return owner if owner is not None else _SlotOwner(name, is_shared=is_shared)

    def _add(self, connection: C, owner: _SlotOwner[C]) -> _SlotOwner[C]:
        self._resize(owner, +1)
        self._owner_of[connection] = owner
        return owner

    def _resize(self, owner: _SlotOwner[C], by: int) -> None:
        """Note that an owner holds more or fewer, before that is so."""
        before = len(owner)
        self._by_size.setdefault(before, {}).pop(owner.name, None)
        if not self._by_size[before]:
            del self._by_size[before]
        if before + by:
            self._by_size.setdefault(before + by, {})[owner.name] = owner
            self._owners[owner.name] = owner
        else:
            del self._owners[owner.name]


def owner_of(address: str) -> str:
    """Return whose a connection from an IP address is."""
    try:
        ip = unmapped(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:  # a socket without addresses
        return LOOPBACK
    if ip.is_loopback:
        return LOOPBACK
    if ip.version == 4:
        return str(ip)
    return str(ipaddress.ip_network((int(ip), _V6_PREFIX), strict=False))
