"""A cache of dear answers, kept once whatever the client's options, id and spelling: only the hop differs.

The cache of ready answers maps whole queries, so that each new cookie, payload size or flag would be a new answer to
make. This one maps what the records depend on, and `dns/hop.py` adds the rest to each answer. Bounded in entries and
octets; the least recently used goes first. Pure: the time is passed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from dns.answers import CacheableAnswer
from dns.codec import CD, MIN_UDP_PAYLOAD, RD, Query, Rcode
from dns.drafts import Draft, draft_of
from dns.hop import OPT_OCTETS, Hop
from dns.rotation import MAX_ORDERS, Orders, Turns

# Sizes that clients accept are rounded down to a multiple of this, so that they cannot ask for hundreds of answers.
_SIZE_STEP: Final = 128
# Room for the options of an answer: a cookie and a keepalive, whichever of them a client asks for.
_OPTIONS_ROOM: Final = 40
# How long several orders are given out, before new ones are drawn.
FRESH_S: Final = 1.0
# Work on the orders of one answer each time, in microseconds: of the dearest, two orders are kept.
_ORDERS_US: Final = 4_000
_LEAST_ORDERS: Final = 2
# Where in its turn the first order is, and how many turns of orders that are not made are passed over.
_MIDDLE: Final = 0.5
_TRIES: Final = 16
# Besides its message: the objects.
_OVERHEAD_BYTES: Final = 800
_PER_DRAFT_BYTES: Final = 350


class DraftLimits(msgspec.Struct, frozen=True):
    """The bounds of the cache."""

    entries: int = 1024
    bytes: int = 4 * 1024 * 1024


class MadeDraft(msgspec.Struct, frozen=True):
    """An answer before the hop, the label of the service it depends on ("": any), and which of its orders it is in."""

    draft: Draft
    rcode: Rcode
    label: str
    orders: Orders
    found: bool  # it has records

    def answering(self, query: Query) -> Draft:
        """Return the draft with the id and the spelling of `query`."""
        message, question = self.draft.message, query.question
        return msgspec.structs.replace(
            self.draft, message=b"".join((query.id.to_bytes(2), message[2:12], question, message[12 + len(question) :]))
        )


class _Orders:
    """The drafts of one question, by the number of their order."""

    __slots__ = ("drafts", "label", "made_at", "most", "turns", "weight")

    def __init__(self, label: str, orders: Orders, most: int, made_at: float) -> None:
        self.label = label
        self.most = most
        self.made_at = made_at
        self.turns = Turns(orders, _MIDDLE)
        self.drafts: dict[int, MadeDraft] = {}
        self.weight = _OVERHEAD_BYTES

    def next(self) -> MadeDraft | int:
        """Return the draft whose turn it is, or the number of its order when it has to be made."""
        for _ in range(_TRIES):
            number = self.turns.next()
            made = self.drafts.get(number)
            if made is not None:
                return made
            if len(self.drafts) < self.most:
                return number
        return next(iter(self.drafts.values()))  # its weight is next to nothing


def made_draft(query: Query, found: CacheableAnswer, hop: Hop, *, dear: bool) -> MadeDraft:
    """Return the draft of the answer to `query`; a dear one fits each client that has the same `draft_key`."""
    draft = draft_of(query, found.answer, _room_of(hop) if dear else hop.room, over_tcp=hop.over_tcp)
    return MadeDraft(draft, found.answer.rcode, found.label, found.orders, found=bool(found.answer.answers))


def _room_of(hop: Hop) -> int:
    """Return the octets for the draft of a dear answer: for many clients the same, and never more than the client's."""
    if hop.edns is None:
        return hop.room
    size = hop.size
    if not hop.over_tcp and size < hop.payload:
        size = max(MIN_UDP_PAYLOAD, size - size % _SIZE_STEP)
    return size - OPT_OCTETS - (_OPTIONS_ROOM if hop.options else 0)


def draft_key(query: Query, hop: Hop) -> bytes:
    """Return what the draft of an answer depends on. The length octets of labels are below the codes of letters."""
    flags = (query.flags & (RD | CD)) | (hop.edns is not None) | hop.over_tcp << 1
    return b"".join((flags.to_bytes(2), _room_of(hop).to_bytes(2), query.question[:-4].lower(), query.question[-4:]))


class DraftCache:
    """The drafts of dear answers."""

    def __init__(self, limits: DraftLimits | None = None) -> None:
        self._limits = limits if limits is not None else DraftLimits()
        self._entries: dict[bytes, _Orders] = {}
        self._by_label: dict[str, set[bytes]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, key: bytes, number: int | None, now: float) -> MadeDraft | int | None:
        """Return the draft in the order of that number (None: of the one whose turn it is).

        When it has to be made, returns the number of its order; None for any.
        """
        entry = self._entries.get(key)
        if entry is None:
            return number
        if entry.most > 1 and now - entry.made_at >= FRESH_S:
            self._drop(key)
            return number
        self._entries[key] = self._entries.pop(key)
        return entry.next() if number is None else entry.drafts.get(number, number)

    def put(self, key: bytes, made: MadeDraft, cost_us: int, now: float) -> None:
        """Keep a draft that took so many microseconds to make."""
        entry = self._entries.get(key)
        if entry is None:
            count = len(made.orders.shares)
            most = min(count, MAX_ORDERS, max(_LEAST_ORDERS, _ORDERS_US // max(1, cost_us)))
            entry = self._entries[key] = _Orders(made.label, made.orders, most, now)
            entry.weight += 2 * len(key)
            self._by_label.setdefault(made.label, set()).add(key)
            self.bytes += entry.weight
        old = entry.drafts.get(made.orders.number)
        entry.drafts[made.orders.number] = made
        more = _weight(made) - (_weight(old) if old is not None else 0)
        entry.weight += more
        self.bytes += more
        while len(self._entries) > self._limits.entries or self.bytes > self._limits.bytes:
            self._drop(next(iter(self._entries)))

    def forget(self, key: bytes) -> None:
        """Drop one entry, if it is there: its orders have been given out for long enough."""
        if key in self._entries:
            self._drop(key)

    def drop(self, labels: Iterable[str]) -> None:
        """Drop what depends on any of these services."""
        for label in labels:
            for key in tuple(self._by_label.get(label, ())):
                self._drop(key)

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._by_label.clear()
        self.bytes = 0

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self.bytes -= entry.weight
        keys = self._by_label[entry.label]
        keys.discard(key)
        if not keys:
            del self._by_label[entry.label]


def _weight(made: MadeDraft) -> int:
    return _PER_DRAFT_BYTES + len(made.draft.message) + len(made.draft.errors)
