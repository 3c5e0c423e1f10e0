"""From a query's bytes to an answer's, by way of the ready answers.

The hot path is one dictionary lookup; it parses nothing, awaits nothing, logs nothing. What it does
not find is read, answered and kept. No query, whatever is in it, makes it raise.
"""

from __future__ import annotations

import asyncio
import random as random_module
from collections import Counter
from typing import Final

import msgspec
import structlog

from dns import codec
from dns.access import LOOPBACK, Access
from dns.answer_cache import AnswerCache, CacheLimits, Entry
from dns.answers import Zone, ZoneSettings
from dns.codec import Answer, Query, Rcode, Refusal, Type
from dns.forwarding import Forwarder, recursive
from registry_core.domain.selection import WhenNonePass
from registry_core.ports import LocalView

# Orders of the same records that are kept ready. Enough that no asker sees a pattern in who comes first.
MAX_ORDERS: Final = 8
# How often all of them are given out before others are drawn. The few that are ready are no fair sample:
# of a service with thousands of instances they name some, and a light instance may lead none of them.
ROUNDS: Final = 256
_PROHIBITED: Final = 18  # RFC 8914 section 4.19

_log = structlog.get_logger(component="dns")


class DnsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the DNS face. Seconds where it says `_s`, octets in `udp_payload`."""

    zone: str = "vertice.internal"
    ttl_s: int = 5
    negative_ttl_s: int = 5
    local_zone: str = ""
    when_none_pass: WhenNonePass = WhenNonePass.ALL
    # What crosses every path without fragments (the flag day of 2020).
    udp_payload: int = 1232
    # Who may ask: networks such as 10.0.0.0/8.
    allow_networks: tuple[str, ...] = LOOPBACK
    cache: CacheLimits = CacheLimits()


class Responder:
    """Answers queries out of `view`, and has `forwarder` answer for names that are not ours.

    Counts what it answers itself, by type and response code.
    """

    def __init__(
        self,
        view: LocalView,
        settings: DnsSettings,
        random: random_module.Random,
        forwarder: Forwarder | None = None,
    ) -> None:
        """Raises ValueError when one of `allow_networks` is no network."""
        self._settings = settings
        self._random = random
        self._forwarder = forwarder
        self._later: asyncio.Future[bytes] | None = None
        self._zone = Zone(
            view,
            ZoneSettings(
                zone=settings.zone,
                ttl_s=settings.ttl_s,
                negative_ttl_s=settings.negative_ttl_s,
                local_zone=settings.local_zone,
                when_none_pass=settings.when_none_pass,
            ),
        )
        self.admits = Access(settings.allow_networks).admits
        self._found = AnswerCache(settings.cache)
        self._missing = AnswerCache(settings.cache)
        self._cells: dict[tuple[str, str], list[int]] = {}
        self.hits = 0
        self.misses = 0
        self.malformed = 0
        self.prohibited = 0
        self.failures = 0
        view.subscribe(self._changed)

    def udp(self, query: bytes) -> bytes | None:
        """Return the answer to a datagram, or None when silence is the answer."""
        key = query[2:]
        entry = self._found.ready.get(key) or self._missing.ready.get(key)
        if entry is not None:
            turn = entry.turn
            if turn < len(entry.variants):
                entry.turn = turn + 1
            elif turn < entry.orders:
                return self._ask(query, key, entry)
            else:
                entry.rounds += 1
                if entry.rounds == ROUNDS and entry.orders > 1:
                    self._found.discard(key)
                    return self._ask(query, key, None)
                entry.turn = 1
                turn = 0
            entry.counter[0] += 1
            self.hits += 1
            return query[:2] + entry.variants[turn]
        return self._ask(query, key, None)

    def tcp(self, query: bytes) -> bytes | None:
        """Return the answer to a message that came over TCP: whole, up to 64 KiB."""
        return self._answer(query, None, None, over_udp=False)

    def take_later(self) -> asyncio.Future[bytes] | None:
        """Return the answer to the last query when it will be there later; None when silence was the answer.

        For who was given None just now: the ready answers are not to pay for those that others are asked for.
        The future is cancelled when there will be no answer.
        """
        later, self._later = self._later, None
        return later

    def refuse(self, query: bytes) -> bytes | None:
        """Return the answer to a message from somebody who may not ask."""
        self.prohibited += 1
        match codec.read(query):
            case Query() as asked:
                self._counter(_type_name(asked.qtype), Rcode.REFUSED)[0] += 1
                answer = Answer(Rcode.REFUSED, authoritative=False, extended_error=_PROHIBITED)
                payload = self._settings.udp_payload
                return codec.write(asked, answer, size=codec.MIN_UDP_PAYLOAD, payload=payload)
            case Refusal() as refusal:
                return codec.refuse(refusal)
            case None:
                return None

    @property
    def counters(self) -> Counter[tuple[str, str]]:
        """Queries answered, by (type, rcode): both bounded sets of words."""
        return Counter({key: cell[0] for key, cell in self._cells.items()})

    @property
    def evictions(self) -> int:
        """Ready answers that were dropped for want of room."""
        return self._found.evictions + self._missing.evictions

    @property
    def cache_entries(self) -> int:
        return len(self._found) + len(self._missing)

    @property
    def cache_bytes(self) -> int:
        return self._found.bytes + self._missing.bytes

    def _ask(self, query: bytes, key: bytes, entry: Entry | None) -> bytes | None:
        self.misses += 1
        return self._answer(query, key, entry, over_udp=True)

    def _answer(self, message: bytes, key: bytes | None, entry: Entry | None, *, over_udp: bool) -> bytes | None:
        try:
            query = codec.read(message)
            if isinstance(query, Query):
                return self._answer_query(query, message, key, entry, over_udp=over_udp)
            self.malformed += 1
            if query is None:
                return None
            self._counter("other", query.rcode)[0] += 1
            return codec.refuse(query)
        except Exception:  # noqa: BLE001 - the last line: whatever a packet does, the server goes on
            self.failures += 1
            # The 1st, 2nd, 4th, 8th ...: who found a packet that does this must not fill the disk as well.
            if self.failures & (self.failures - 1) == 0:
                _log.exception("query_failed", query=message[:512].hex(), failures=self.failures)
            if len(message) < codec.HEADER:
                return None
            refusal = Refusal(int.from_bytes(message[:2]), int.from_bytes(message[2:4]), Rcode.SERVFAIL)
            return codec.refuse(refusal)

    def _answer_query(
        self, query: Query, message: bytes, key: bytes | None, entry: Entry | None, *, over_udp: bool
    ) -> bytes | None:
        limit = min(query.payload, self._settings.udp_payload) if over_udp else codec.MAX_MESSAGE
        found = self._zone.answer(query, self._random, limit)
        if self._forwarder is not None and found.answer.rcode is Rcode.REFUSED and _can_be_forwarded(query):
            answered = self._forwarder.answer(query, message, limit)
            if isinstance(answered, bytes):
                return answered
            self._later = answered
            return None
        answer = codec.write(query, found.answer, size=limit, payload=self._settings.udp_payload)
        if self._forwarder is not None:
            answer = recursive(answer)
        counter = self._counter(_type_name(query.qtype), found.answer.rcode)
        counter[0] += 1
        # A query with options (cookies, mostly) is another one each time: keeping it would help nobody.
        if key is not None and not (query.edns is not None and query.edns.has_options):
            kept = self._found if found.answer.answers else self._missing
            if entry is None:
                entry = Entry(found.label, min(MAX_ORDERS, found.orders), counter)
            entry.turn = len(entry.variants) + 1
            kept.put(key, entry, answer[2:])
        return answer

    def _counter(self, type_: str, rcode: Rcode) -> list[int]:
        return self._cells.setdefault((type_, rcode.name), [0])

    def _changed(self, labels: frozenset[str]) -> None:
        for kept in (self._found, self._missing):
            if labels:
                # What depends on no one service may depend on any: the list of all services does.
                kept.drop([*labels, ""])
            else:
                kept.clear()


def _can_be_forwarded(query: Query) -> bool:
    """Return whether a question that the zone refuses is for a name elsewhere, and not for what nobody gives here."""
    return query.qclass == codec.CLASS_IN and query.qtype not in (Type.AXFR, Type.IXFR)


def _type_name(qtype: int) -> str:
    """Return the word that a type is counted under; the unusual ones share one, so that words are few."""
    try:
        return Type(qtype).name
    except ValueError:
        return "other"
