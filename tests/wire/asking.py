"""Queries and answers, built and parsed by dnslib, an independent implementation."""

from __future__ import annotations

import random
from typing import Any

import dnslib

from dns.dns_settings import DnsSettings
from dns.forwarding import Forwards
from dns.responder import Responder
from registry_core.ports.clock import Clock
from registry_core.ports.local_view import LocalView

ZONE = "vertice.internal"


def responder(
    view: LocalView, seed: int = 7, clock: Clock | None = None, forwarder: Forwards | None = None, **settings: Any
) -> Responder:
    """Return a responder with its own random source."""
    return Responder(view, DnsSettings(**settings), random.Random(seed), forwarder, clock=clock)


def question(
    name: str,
    qtype: str = "A",
    *,
    edns: int | None = None,
    version: int = 0,
    options: tuple[Any, ...] = (),
    id_: int = 4711,
) -> bytes:
    """Return the bytes of a query; `edns` is the advertised payload size, None for no OPT record."""
    record = dnslib.DNSRecord(dnslib.DNSHeader(id=id_, rd=1), q=dnslib.DNSQuestion(name, getattr(dnslib.QTYPE, qtype)))
    if edns is not None:
        record.add_ar(dnslib.EDNS0(udp_len=edns, version=version, opts=list(options)))
    return bytes(record.pack())


def parsed(answer: bytes | None) -> Any:
    """Return an answer as dnslib parses it."""
    assert answer is not None
    return dnslib.DNSRecord.parse(answer)


def ask(server: Responder, name: str, qtype: str = "A", *, tcp: bool = False, **more: Any) -> Any:
    """Return the answer to one query."""
    query = question(name, qtype, **more)
    return parsed(server.tcp(query) if tcp else server.udp(query))


def rcode(answer: Any) -> str:
    """Return the name of an answer's response code, including the extended bits of EDNS."""
    extended = next(((rr.ttl >> 24) & 0xFF for rr in answer.ar if rr.rtype == 41), 0)
    code = answer.header.rcode | extended << 4
    return {16: "BADVERS", 23: "BADCOOKIE"}.get(code) or str(dnslib.RCODE[code])


def data(answer: Any, section: str = "rr") -> list[str]:
    """Return the data of a section's records as sorted text, without the OPT record."""
    return sorted(str(rr.rdata) for rr in getattr(answer, section) if rr.rtype != 41)


def extended_errors(answer: Any) -> list[int]:
    """Return the codes of the Extended DNS Errors (option 15 of OPT)."""
    opts = [rr for rr in answer.ar if rr.rtype == 41]
    return [int.from_bytes(o.data[:2], "big") for rr in opts for o in rr.rdata if o.code == 15]
