"""Parses REGISTRY_URL: URLs, with an optional zone, and names whose SRV records hold the addresses. Pure.

http://a:8888                     one registry
http://a:8888#zone=eu-1a          the same, with its zone until it reports one itself
srv:_registry._tcp.example        the targets of that name's SRV records (RFC 2782)
srv+https:_registry._tcp.example  the same over TLS; certificates are for the name `example` (RFC 6125 section 6.2)
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from dns.codec import Name, Type
from dns.foreign import ForeignReply
from dns.name_limits import MAX_NAME
from registry_core.domain.host_port import host_port
from registry_core.settings import http_url
from registry_core.upstreams.choice import RegistryAddress

# Further addresses are ignored; each one has a few labels in the metrics.
MAX_ADDRESSES: Final = 16
SRV_PREFIX: Final = "srv:"
SRV_TLS_PREFIX: Final = "srv+https:"
_ZONE: Final = re.compile(r"zone=([A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)", re.ASCII)
_LABEL: Final = re.compile(rb"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# The data of a record follows its TTL and its length.
_DATA_AFTER_TTL: Final = 4 + 2
# RFC 2782: a target of weight 0 is chosen rarely, but sometimes.
_WEIGHT_OF_NONE: Final = 0.01


class SrvName(msgspec.Struct, frozen=True):
    """A name whose SRV records hold the addresses."""

    name: Name  # in lower case
    tls: bool = False

    def __str__(self) -> str:
        return (SRV_TLS_PREFIX if self.tls else SRV_PREFIX) + b".".join(self.name).decode("ascii")

    @property
    def domain(self) -> str:
        """The name that certificates of its targets must have: a forger of the records chooses the targets."""
        return b".".join(self.name[2:]).decode("ascii")


class SrvRecord(msgspec.Struct, frozen=True):
    """One SRV record."""

    priority: int
    weight: int
    port: int
    target: str


AddressSource: TypeAlias = RegistryAddress | SrvName


def read_source(text: str) -> AddressSource:
    """Parse one address. Raises ValueError, with the reason, when it is invalid."""
    text = text.strip()
    for prefix in (SRV_PREFIX, SRV_TLS_PREFIX):
        if text.lower().startswith(prefix):
            return SrvName(_srv_name(text[len(prefix) :]), tls=prefix == SRV_TLS_PREFIX)
    url, hash_, fragment = text.partition("#")
    zone = _ZONE.fullmatch(fragment)
    if hash_ and zone is None:
        raise ValueError("after # it must have zone=NAME")
    return RegistryAddress(http_url(url), zone[1] if zone is not None else "")


def source_text(text: str) -> str:
    """Return an address in its normal form, without blanks and a trailing slash. Raises ValueError."""
    source = read_source(text)
    if isinstance(source, SrvName):
        return str(source)
    return f"{source.url}#zone={source.zone}" if source.zone else source.url


def _srv_name(text: str) -> Name:
    labels = [label.encode("ascii", "replace") for label in text.strip().rstrip(".").lower().split(".")]
    if not all(map(_LABEL.fullmatch, labels)) or sum(len(label) + 1 for label in labels) >= MAX_NAME:
        raise ValueError("after srv: there must be a domain name")
    if len(labels) < 3 or not labels[0].startswith(b"_") or labels[1] not in (b"_tcp", b"_http"):
        raise ValueError("after srv: there must be _service._tcp.domain")
    return tuple(labels)


def addresses(
    sources: Iterable[AddressSource], found: Mapping[SrvName, Iterable[SrvRecord]], seed: bytes
) -> list[RegistryAddress]:
    """Return all addresses, each once, in the order of `sources`; `found` holds the records of the names.

    Records are ordered by priority, then by a weighted draw from `seed`: an agent's order is stable as long as the
    records are, and adding or removing a record moves only that record's share of the agents.
    """
    listed: dict[str, RegistryAddress] = {}
    for source in sources:
        if isinstance(source, RegistryAddress):
            listed.setdefault(source.url, source)
            continue
        records = sorted(set(found.get(source, ())), key=lambda one: (one.priority, _place(one, seed)))
        tiers = {priority: tier for tier, priority in enumerate(sorted({one.priority for one in records}))}
        for one in records:
            url = f"{'https' if source.tls else 'http'}://{host_port(one.target, one.port)}"
            listed.setdefault(url, RegistryAddress(url, tier=tiers[one.priority]))
    return list(listed.values())[:MAX_ADDRESSES]


def names_to_check(sources: Iterable[AddressSource], found: Mapping[SrvName, Iterable[SrvRecord]]) -> dict[str, str]:
    """Return the name that the certificate of each host must have, where it is another than the host's own."""
    listed = list(sources)
    own = {urlsplit(source.url).hostname for source in listed if isinstance(source, RegistryAddress)}
    return {
        one.target: source.domain
        for source in listed
        if isinstance(source, SrvName) and source.tls
        for one in found.get(source, ())
        if one.target not in own
    }


def _place(record: SrvRecord, seed: bytes) -> float:
    """Return an exponential draw: each record's chance of the smallest draw is proportional to its weight."""
    drawn = hashlib.blake2b(host_port(record.target, record.port).encode(), key=seed, digest_size=8).digest()
    uniform = (int.from_bytes(drawn) + 1) / (2**64 + 1)
    return -math.log(uniform) / (record.weight or _WEIGHT_OF_NONE)


def srv_records(reply: ForeignReply) -> list[SrvRecord]:
    """Return the SRV records of an answer, without targets that cannot be connected to.

    The target `.` means that there is no such service (RFC 2782).
    """
    found = []
    for mark in reply.marks:
        if mark.section != 0 or mark.type != Type.SRV:
            continue
        start = mark.ttl_at + _DATA_AFTER_TTL
        data = reply.message[start : mark.end]
        target = _name_at(reply.message, start + 6)
        if len(data) < 7 or not target or not all(map(_LABEL.fullmatch, target)):
            continue
        priority, weight, port = (int.from_bytes(data[at : at + 2]) for at in (0, 2, 4))
        if port:
            found.append(SrvRecord(priority, weight, port, b".".join(target).decode("ascii").lower()))
    return found


def _name_at(message: bytes, at: int) -> Name:
    """Return the name at `at`, empty when it cannot be read.

    RFC 2782 forbids compressed targets, but RFC 3597 section 4 asks receivers to accept them.
    """
    labels: list[bytes] = []
    bound = at + 1  # pointers must lead back, so that the loop ends
    while at < len(message) and len(labels) < MAX_NAME // 2:
        length = message[at]
        if length == 0:
            return tuple(labels)
        if length >= 0xC0:
            to = int.from_bytes(message[at : at + 2]) & 0x3FFF
            if to >= bound - 1:
                return ()
            at, bound = to, to + 1
            continue
        if length > 63:
            return ()
        labels.append(message[at + 1 : at + 1 + length])
        at += 1 + length
    return ()
