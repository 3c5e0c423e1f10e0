"""Ready answers: from a query's bytes, without its id, to an answer's bytes, without its id.

It knows neither what the bytes mean nor how they are made. What depends on a service is dropped when
the service changes, and nothing else is. Bounded in entries and in bytes; names that do not exist are
kept apart, so that a flood of random ones cannot drive out the answers that are asked for.

A look-up is one dictionary lookup and one step of an iterator, both in C, for as many keys at a time as
there are. So nothing is counted there: what an iterator has given out is read off it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from operator import length_hint
from typing import Final, NamedTuple

import msgspec

from dns.mmsg import place_of
from dns.rotation import Orders, Turns

# What an entry costs besides its bytes, as measured: the objects and its places in the dictionaries, each order,
# and what is needed to have several take turns.
_ENTRY_BYTES: Final = 640
_ORDER_BYTES: Final = 170
_TURNS_BYTES: Final = 760
# Answers of one entry between two looks at it: of one order, and of several, for which each takes room.
_STOCK: Final = 1024
_STOCK_IN_TURN: Final = 64
# How often each order is given out, on average, before others are drawn. The few that are ready are no fair sample:
# of a service with thousands of instances they name some, and a light instance may lead none of them.
ROUNDS: Final = 256
# Entries that are let off at one eviction because they were asked for; then the next goes, asked for or not.
_MOST_LET_OFF: Final = 32


class Ready(NamedTuple):
    """An answer without its id, and where it lies in memory, as sendmmsg(2) wants to be told."""

    place: bytes
    answer: bytes


NONE_READY: Final = Ready(b"", b"")
# Where the question's name begins in what has no id: behind the rest of the header (RFC 1035 section 4.1.1).
_NAME_AT: Final = 10
_ALWAYS_NONE: Final = repeat(NONE_READY)
_NOTHING: Final = repeat(_ALWAYS_NONE)
_SPENT: Final[Iterator[Ready]] = iter(())


class CacheLimits(msgspec.Struct, frozen=True):
    """The bounds of each of the two parts: what exists, and what does not."""

    entries: int = 20_000
    bytes: int = 8 * 1024 * 1024


class CachedAnswers:
    """The answers to one query: several orders of the same records, given out in turn."""

    __slots__ = (
        "asked_for",
        "counter",
        "label",
        "left",
        "lives",
        "number",
        "orders",
        "stock",
        "turns",
        "variants",
        "weight",
    )

    def __init__(self, label: str, orders: Orders, counter: list[int], draw: float) -> None:
        """Begin with an answer in the order of `orders.number`; `draw`, from [0, 1), is whose turn comes then."""
        self.label = label
        self.orders = len(orders.shares)
        self.counter = counter  # one cell, shared by all entries that count as the same
        self.variants: dict[int, Ready] = {}
        self.number = orders.number  # of the variant whose turn is next
        self.turns = Turns(orders, draw) if self.orders > 1 else None
        self.lives = ROUNDS * self.orders  # answers until others are drawn
        self.stock: Iterator[Ready] = _SPENT
        self.left = 0  # in the stock, when it was last looked at
        self.asked_for = False  # since it last came up for eviction
        self.weight = _ENTRY_BYTES

    def settle(self) -> int:
        """Count what the stock has given out since the last time; return how much that is."""
        left = length_hint(self.stock)
        given, self.left = self.left - left, left
        if given:
            self.counter[0] += given
            self.asked_for = True
        return given

    def add(self, variant: Ready) -> None:
        """Take the variant whose turn it was, which is given out by who made it."""
        self.variants[self.number] = variant
        self._turn()

    def restock(self) -> bool:
        """Lay in what comes next; return False when that has to be made first."""
        if self.orders == 1:
            self.stock, self.left = repeat(self.variants[0], _STOCK), _STOCK
            return True
        given: list[Ready] = []
        while len(given) < _STOCK_IN_TURN and self.lives > 0 and self.number in self.variants:
            given.append(self.variants[self.number])
            self._turn()
        self.stock, self.left = iter(tuple(given)), len(given)
        return bool(given)

    def _turn(self) -> None:
        if self.turns is not None:
            self.number = self.turns.next()
            self.lives -= 1


class AnswerCache:
    """One bounded part of the ready answers.

    The oldest entry goes first, unless it was asked for since it last came up (a second chance, as in the
    page replacement of that name): who asks for ever new things drives out what he asked for himself.
    """

    def __init__(self, limits: CacheLimits, ready: dict[bytes, Iterator[Ready]] | None = None) -> None:
        """`ready` is where the stocks are looked up, which several parts may share."""
        self._limits = limits
        self._ready: dict[bytes, Iterator[Ready]] = ready if ready is not None else {}
        self._entries: dict[bytes, CachedAnswers] = {}
        self._by_label: dict[str, set[bytes]] = {}
        self.bytes = 0
        self.evictions = 0
        self._hits = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._entries)

    @property
    def hits(self) -> int:
        """Answers that were given out. Looks at every entry, and brings the entries' counters up to date."""
        for entry in self._entries.values():
            self._hits += entry.settle()
        return self._hits

    def get(self, key: bytes) -> CachedAnswers | None:
        """Return the entry of `key`, complete or not."""
        return self._entries.get(key)

    def put(self, key: bytes, entry: CachedAnswers, variant: bytes) -> None:
        """Add `variant` to the entry of `key`, and the entry itself when it is new."""
        if key not in self._entries:
            self._entries[key] = entry
            self._ready[key] = entry.stock
            self._by_label.setdefault(entry.label, set()).add(key)
            entry.weight += 2 * len(key) + (_TURNS_BYTES if entry.orders > 1 else 0)
            self.bytes += entry.weight
        entry.add(Ready(place_of(variant), variant))
        entry.weight += len(variant) + _ORDER_BYTES
        self.bytes += len(variant) + _ORDER_BYTES
        let_off = 0
        while len(self._entries) > self._limits.entries or self.bytes > self._limits.bytes:
            oldest = next(iter(self._entries))
            if let_off < _MOST_LET_OFF and self._was_asked_for(oldest):
                let_off += 1
            else:
                self._drop(oldest)
                self.evictions += 1

    def restock(self, key: bytes) -> Ready | None:
        """Return the next answer for a key whose stock is spent; None when one has to be made."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._hits += entry.settle()
        if not entry.restock():
            if entry.lives <= 0:
                self._drop(key)
            return None
        self._ready[key] = entry.stock
        return next(entry.stock)

    def drop(self, labels: Iterable[str]) -> None:
        """Drop what depends on any of these services."""
        for label in labels:
            for key in tuple(self._by_label.get(label, ())):
                self._drop(key)

    def clear(self) -> None:
        """Drop everything."""
        for key in tuple(self._entries):
            self._drop(key)

    def _was_asked_for(self, key: bytes) -> bool:
        """Return whether an entry was, and if so have it begin again as the youngest."""
        entry = self._entries[key]
        self._hits += entry.settle()
        if not entry.asked_for:
            return False
        entry.asked_for = False
        del self._entries[key]
        self._entries[key] = entry
        return True

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self._ready.pop(key, None)
        self._hits += entry.settle()
        self.bytes -= entry.weight
        keys = self._by_label[entry.label]
        keys.discard(key)
        if not keys:
            del self._by_label[entry.label]


class ReadyAnswers:
    """Both parts: what is found, and what is missing. One lookup finds either."""

    def __init__(self, limits: CacheLimits) -> None:
        self._stocks: dict[bytes, Iterator[Ready]] = {}
        self._stock_of = self._stocks.get
        self.found = AnswerCache(limits, self._stocks)
        self.missing = AnswerCache(limits, self._stocks)

    def take(self, keys: Iterable[bytes]) -> list[Ready]:
        """Return the next ready answer for each of `keys`; NONE_READY for whom `take_one` may have one."""
        return list(map(next, map(self._stock_of, keys, _NOTHING), _ALWAYS_NONE))

    def take_one(self, key: bytes) -> Ready | None:
        """Return the next ready answer for `key`, or None when one has to be made."""
        ready = next(self._stock_of(key, _ALWAYS_NONE), NONE_READY)
        if ready is NONE_READY:
            return self.found.restock(key) or self.missing.restock(key)
        return ready

    def get(self, key: bytes) -> CachedAnswers | None:
        """Return the entry of `key`, complete or not."""
        return self.found.get(key) or self.missing.get(key)

    @property
    def hits(self) -> int:
        """Answers that were given out. Looks at every entry, and brings the entries' counters up to date."""
        return self.found.hits + self.missing.hits

    @property
    def evictions(self) -> int:
        return self.found.evictions + self.missing.evictions

    @property
    def bytes(self) -> int:
        return self.found.bytes + self.missing.bytes

    def __len__(self) -> int:
        return len(self._stocks)

    def drop(self, labels: Iterable[str]) -> None:
        """Drop what depends on any of these services."""
        for label in labels:
            self.found.drop((label,))
            self.missing.drop((label,))

    def clear(self) -> None:
        """Drop everything."""
        self.found.clear()
        self.missing.clear()


def folded(key: bytes) -> bytes:
    """Return `key` with its question's name in lower case: what it is kept under.

    Askers spell names with random case to tell answers from forgeries (0x20): 2^20 queries for one name,
    all with one answer but for the spelling. Of what is no well-formed query, something is returned that
    no well-formed one has.
    """
    end = _end_of_name(key)
    return key[:_NAME_AT] + key[_NAME_AT:end].lower() + key[end:]


def respelled(answer: bytes, key: bytes) -> bytes:
    """Return `answer`, made for the folded `key`, with the question spelled as in `key`."""
    end = _end_of_name(key)
    return answer[:_NAME_AT] + key[_NAME_AT:end] + answer[end:]


def _end_of_name(key: bytes) -> int:
    # The first zero octet: within a label one may stand too, but then both of the same query end there.
    # No length of a label is a letter, so lower case leaves the lengths alone.
    return max(key.find(b"\0", _NAME_AT), _NAME_AT)
