"""A cache of ready answers: maps a query's bytes to an answer's bytes, both without the id.

It knows neither what the bytes mean nor how they are made. A change to a service drops the entries that
depend on it, and no others. The cache is bounded in entries and bytes. Names that do not exist are kept
apart, so that a flood of random names cannot evict useful answers.

A look-up is one dictionary lookup and one iterator step, both in C, for a whole batch of keys. So it counts
nothing: hits are derived later from how far each iterator has advanced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import repeat
from operator import length_hint
from typing import Final, NamedTuple

import msgspec

from dns.mmsg import place_of
from dns.rotation import Orders, Turns
from registry_core.usage.asked import AskedNames

# The measured cost of an entry besides its bytes: the objects and dictionary slots, each order, and what it takes to
# rotate several orders.
_ENTRY_BYTES: Final = 640
_ORDER_BYTES: Final = 170
_TURNS_BYTES: Final = 2700
# Answers stocked for one entry: with one order, more than are ever given; with several of which some have to be made.
_STOCK: Final = 1 << 40
_STOCK_IN_TURN: Final = 64
# Answers in several orders before new ones are drawn, an octet each. The few ready orders are not a fair sample: they
# name some of a service's thousands of instances, and an instance with a low weight may lead none of them. At 500
# queries a second, the half of them lasts for two seconds: time to make new ones.
LIVES: Final = 2048
# How many recently used entries one eviction spares; after that, it removes the next one, used or not.
_MOST_LET_OFF: Final = 32


class Ready(NamedTuple):
    """An answer without its id, and its place in memory as sendmmsg(2) needs it."""

    place: bytes
    answer: bytes


NONE_READY: Final = Ready(b"", b"")
# Where the question's name starts in a message without id: after the rest of the header (RFC 1035 section 4.1.1).
_NAME_AT: Final = 10
_ALWAYS_NONE: Final = repeat(NONE_READY)
_NOTHING: Final = repeat(_ALWAYS_NONE)
_SPENT: Final[Iterator[Ready]] = iter(())


class CacheLimits(msgspec.Struct, frozen=True):
    """The bounds of each part: names that exist, and names that do not."""

    entries: int = 20_000
    bytes: int = 8 * 1024 * 1024


class CachedAnswers:
    """The answers to one query: the same records in several orders, given out in turn."""

    __slots__ = (
        "asked_for",
        "counter",
        "label",
        "left",
        "lives",
        "number",
        "orders",
        "stock",
        "ticker",
        "turns",
        "variants",
        "weight",
    )

    def __init__(self, label: str, orders: Orders, counter: list[int], draw: float) -> None:
        """Start with an answer in the order `orders.number`; `draw`, from [0, 1), decides which order comes next."""
        self.label = label
        self.orders = len(orders.shares)
        self.counter = counter  # one cell, shared by all entries counted together
        self.variants: dict[int, Ready] = {}
        self.number = orders.number  # the number of the next variant
        self.turns = Turns(orders, draw) if self.orders > 1 else None
        self.lives = LIVES  # answers until new orders are drawn
        self.stock: Iterator[Ready] = _SPENT
        self.ticker: Iterator[object] = _SPENT  # as long as the stock
        self.left = 0  # answers left in the stock when last checked
        self.asked_for = False  # used since it last came up for eviction
        self.weight = _ENTRY_BYTES

    def settle(self) -> int:
        """Count and return the answers given out since the last call."""
        left = length_hint(self.ticker)
        given, self.left = self.left - left, left
        if given:
            self.counter[0] += given
            self.asked_for = True
        return given

    def add(self, variant: Ready) -> None:
        """Add the variant whose turn it was; its maker has already given it out once."""
        self.variants[self.number] = variant
        self._turn()

    def restock(self) -> bool:
        """Stock the next variant; return False when it has to be made first."""
        if self.orders == 1 or self.turns is None:
            self.stock = repeat(self.variants[0], _STOCK)
            self.ticker = self.stock
        elif len(self.variants) == self.orders and self.lives > 0:
            # All that are left: the thread that takes them may have to do without the loop for a while.
            first, turns = bytes((self.number,)), self.turns.many(self.lives)
            ticker = iter((first + turns)[: self.lives])
            variants = tuple(self.variants[number] for number in range(self.orders))
            self.stock, self.ticker, self.lives = map(variants.__getitem__, ticker), ticker, 0
        else:
            given: list[Ready] = []
            while len(given) < _STOCK_IN_TURN and self.lives > 0 and self.number in self.variants:
                given.append(self.variants[self.number])
                self._turn()
            self.stock = iter(tuple(given))
            self.ticker = self.stock
        self.left = length_hint(self.ticker)
        return self.left > 0

    def lacking(self) -> bool:
        """Turn to an order that has not been made; return False when all have been."""
        for number in range(self.orders):
            if number not in self.variants:
                self.number = number
                return True
        return False

    def _turn(self) -> None:
        if self.turns is not None:
            self.number = self.turns.next()
            self.lives -= 1


class AnswerCache:
    """One bounded part of the cache of ready answers.

    The oldest entry is evicted first, unless it was used since it last came up (second-chance page
    replacement): a client that keeps asking for new names evicts only its own entries.
    """

    def __init__(
        self,
        limits: CacheLimits,
        ready: dict[bytes, Iterator[Ready]] | None = None,
        asked: Callable[[str, int], None] = lambda _label, _count: None,
    ) -> None:
        """`ready` holds the stocks; several parts may share it. `asked` is told how many answers a service gave."""
        self._asked = asked
        self._limits = limits
        self._ready: dict[bytes, Iterator[Ready]] = ready if ready is not None else {}
        self._entries: dict[bytes, CachedAnswers] = {}
        self._by_label: dict[str, set[bytes]] = {}
        self.bytes = 0
        self.evictions = 0
        self._hits = 0
        self._rotating: dict[bytes, CachedAnswers] = {}  # those with all their orders
        self._spent: bytes | None = None  # the key whose orders were used up last

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._entries)

    @property
    def hits(self) -> int:
        """Answers that were given out. Looks at every entry, and brings the entries' counters up to date."""
        for entry in self._entries.values():
            self._settle(entry)
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
        """Return the next answer for a key whose stock is used up; None when it has to be made."""
        entry = self._entries.get(key)
        return next(entry.stock) if entry is not None and self.stock(key) else None

    def stock(self, key: bytes) -> bool:
        """Stock the answers of a key, and return whether there are any; drop it when its orders are used up."""
        entry = self._entries[key]
        self._settle(entry)
        if not entry.restock():
            if entry.lives <= 0:
                self.spend(key)
            return False
        self._ready[key] = entry.stock
        if entry.turns is not None and not entry.lives:
            self._rotating[key] = entry
        return True

    def nearly_spent(self) -> list[bytes]:
        """Return the keys of which less than half of the answers are left before new orders are drawn."""
        return [key for key, entry in self._rotating.items() if length_hint(entry.ticker) < LIVES // 2]

    def spend(self, key: bytes) -> None:
        """Drop an entry, as if its orders were used up."""
        self._drop(key)
        self._spent = key

    def is_spent(self, key: bytes) -> bool:
        """Return whether the orders of `key` were just used up, so that new ones are to be drawn; say it once."""
        is_spent = self._spent == key
        if is_spent:
            self._spent = None
        return is_spent

    def drop(self, labels: Iterable[str]) -> None:
        """Drop what depends on any of these services."""
        for label in labels:
            for key in tuple(self._by_label.get(label, ())):
                self._drop(key)

    def clear(self) -> None:
        """Drop everything."""
        for key in tuple(self._entries):
            self._drop(key)

    def _settle(self, entry: CachedAnswers) -> None:
        given = entry.settle()
        if given:
            self._hits += given
            self._asked(entry.label, given)

    def _was_asked_for(self, key: bytes) -> bool:
        """Return whether an entry was used, and if so make it the youngest."""
        entry = self._entries[key]
        self._settle(entry)
        if not entry.asked_for:
            return False
        entry.asked_for = False
        del self._entries[key]
        self._entries[key] = entry
        return True

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key)
        self._ready.pop(key, None)
        self._rotating.pop(key, None)
        self._settle(entry)
        self.bytes -= entry.weight
        keys = self._by_label[entry.label]
        keys.discard(key)
        if not keys:
            del self._by_label[entry.label]


class ReadyAnswers:
    """Both parts: existing and missing names. One lookup covers both. `asked` has the answers that services gave."""

    def __init__(self, limits: CacheLimits, asked: AskedNames | None = None) -> None:
        """Several may tell the same `asked` what services gave."""
        self._stocks: dict[bytes, Iterator[Ready]] = {}
        self._stock_of = self._stocks.get
        self.asked = asked if asked is not None else AskedNames()
        self.found = AnswerCache(limits, self._stocks, self.asked.add)
        self.missing = AnswerCache(limits, self._stocks, partial(self.asked.add, is_found=False))

    def take(self, keys: Iterable[bytes]) -> list[Ready]:
        """Return the next ready answer for each of `keys`; NONE_READY where `take_one` may still have one."""
        return list(map(next, map(self._stock_of, keys, _NOTHING), _ALWAYS_NONE))

    def taker(self) -> tuple[Callable[[bytes], None], Iterator[Ready]]:
        """Return what one thread takes ready answers with: it tells a key to the first, and gets the second's next.

        As `take` does, it finds the entry and takes from it in one call of C code: no other thread drops the entry,
        and settles its account, in between.
        """
        keys: list[bytes] = []
        return keys.append, map(next, map(self._stock_of, iter(keys.pop, None), _NOTHING), _ALWAYS_NONE)

    def take_one(self, key: bytes) -> Ready | None:
        """Return the next ready answer for `key`, or None when one has to be made."""
        ready = next(self._stock_of(key, _ALWAYS_NONE), NONE_READY)
        if ready is NONE_READY:
            return self.found.restock(key) or self.missing.restock(key)
        return ready

    def answer(self, query: bytes) -> bytes | None:
        """Return the next ready answer to `query`, which has an id; None when one has to be made."""
        key = query[2:]
        ready = self.take_one(key)
        if ready is not None:
            return query[:2] + ready.answer
        plain = folded(key)
        if plain != key and (ready := self.take_one(plain)) is not None:
            return query[:2] + respelled(ready.answer, key)
        return None

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
    """Return `key` with its question's name in lower case: the key of its cache entry.

    Clients randomize the case of names to detect forged answers (0x20): 2^20 queries for one name, with the same
    answer but for its spelling. For a malformed query, the result differs from every well-formed query's key.
    """
    end = _end_of_name(key)
    return key[:_NAME_AT] + key[_NAME_AT:end].lower() + key[end:]


def respelled(answer: bytes, key: bytes) -> bytes:
    """Return `answer`, made for the folded `key`, with the question spelled as in `key`."""
    end = _end_of_name(key)
    return answer[:_NAME_AT] + key[_NAME_AT:end] + answer[end:]


def _end_of_name(key: bytes) -> int:
    # The first zero octet. A label may contain one too, but then both keys of the same query end there.
    # No label length is the code of a letter, so lowering the case does not change lengths.
    return max(key.find(b"\0", _NAME_AT), _NAME_AT)
