"""From a query's bytes to an answer's, by way of the ready answers.

The hot path is one dictionary lookup; it parses nothing, awaits nothing, logs nothing. What it does
not find is read, answered and kept. No query, whatever is in it, makes it raise.
"""

from __future__ import annotations

import random as random_module
from collections import Counter
from typing import Final

import msgspec
import structlog

from dns import codec
from dns.access import LOOPBACK, Access
from dns.answer_cache import CacheLimits, Entry, ReadyAnswers, folded, respelled
from dns.answers import Zone, ZoneSettings
from dns.codec import Answer, Query, Rcode, Refusal, Type
from registry_core.domain.selection import WhenNonePass
from registry_core.ports import LocalView

# Orders of the same records that are kept ready. Enough that no asker sees a pattern in who comes first.
MAX_ORDERS: Final = 8
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
    """Answers queries out of `view`. Counts what it answers, by type and response code."""

    def __init__(self, view: LocalView, settings: DnsSettings, random: random_module.Random) -> None:
        """Raises ValueError when one of `allow_networks` is no network."""
        self._settings = settings
        self._random = random
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
        self._ready = ReadyAnswers(settings.cache)
        self.ready = self._ready.take
        self._cells: dict[tuple[str, str], list[int]] = {}
        self.misses = 0
        self.malformed = 0
        self.prohibited = 0
        self.failures = 0
        view.subscribe(self._changed)

    def udp(self, query: bytes) -> bytes | None:
        """Return the answer to a datagram, or None when silence is the answer."""
        key = query[2:]
        ready = self._ready.take_one(key)
        if ready is not None:
            return query[:2] + ready.answer
        plain = folded(key)
        if plain != key:
            ready = self._ready.take_one(plain)
            if ready is not None:
                return query[:2] + respelled(ready.answer, key)
        self.misses += 1
        return self._answer(query, plain, over_udp=True)

    def tcp(self, query: bytes) -> bytes | None:
        """Return the answer to a message that came over TCP: whole, up to 64 KiB."""
        return self._answer(query, None, over_udp=False)

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
        _ = self._ready.hits  # what was given out is counted now
        return Counter({key: cell[0] for key, cell in self._cells.items()})

    @property
    def hits(self) -> int:
        """Queries that had a ready answer."""
        return self._ready.hits

    @property
    def evictions(self) -> int:
        """Ready answers that were dropped for want of room."""
        return self._ready.evictions

    @property
    def cache_entries(self) -> int:
        return len(self._ready)

    @property
    def cache_bytes(self) -> int:
        return self._ready.bytes

    def _answer(self, message: bytes, key: bytes | None, *, over_udp: bool) -> bytes | None:
        try:
            query = codec.read(message)
            if isinstance(query, Query):
                return self._answer_query(query, key, over_udp=over_udp)
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

    def _answer_query(self, query: Query, key: bytes | None, *, over_udp: bool) -> bytes:
        limit = min(query.payload, self._settings.udp_payload) if over_udp else codec.MAX_MESSAGE
        found = self._zone.answer(query, self._random, limit)
        answer = codec.write(query, found.answer, size=limit, payload=self._settings.udp_payload)
        counter = self._counter(_type_name(query.qtype), found.answer.rcode)
        counter[0] += 1
        # A query with options (cookies, mostly) is another one each time: keeping it would help nobody.
        if key is not None and not (query.edns is not None and query.edns.has_options):
            kept = self._ready.found if found.answer.answers else self._ready.missing
            entry = kept.get(key)
            if entry is None:
                entry = Entry(found.label, min(MAX_ORDERS, found.orders), counter)
            kept.put(key, entry, respelled(answer[2:], key))
        return answer

    def _counter(self, type_: str, rcode: Rcode) -> list[int]:
        return self._cells.setdefault((type_, rcode.name), [0])

    def _changed(self, labels: frozenset[str]) -> None:
        if labels:
            # What depends on no one service may depend on any: the list of all services does.
            self._ready.drop([*labels, ""])
        else:
            self._ready.clear()


def _type_name(qtype: int) -> str:
    """Return the word that a type is counted under; the unusual ones share one, so that words are few."""
    try:
        return Type(qtype).name
    except ValueError:
        return "other"
