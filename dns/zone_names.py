"""The names of the zone: what the labels below the apex mean. Pure, and independent of what is registered.

    <service>                   the service            <tag>.<service>          its instances with the tag
    _<service>._tcp|_udp        SRV (RFC 2782), and PTR to its instances (RFC 6763 section 4)
    _<x>._tcp|_udp.<service>    SRV, for clients that look a protocol up below a host name: <x> is the service or a tag
    <id>._<service>._tcp|_udp   SRV and TXT of one instance (RFC 6763 sections 5 and 6)
    i-<short>                   one instance           ns                       the zone's name server
    _services._dns-sd._udp      the types of services (RFC 6763 section 9)
    b|db|lb._dns-sd._udp        the domains to browse: the zone (RFC 6763 section 11)

Any other name does not exist, whatever the catalogue holds, and can be denied also while that is incomplete.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from dns.codec import Name
from registry_core.domain.names import SHORT_ID_LENGTH, is_service_name, is_tag, label_of

INSTANCE_LABEL: Final = b"i-"
TCP: Final = b"_tcp"
UDP: Final = b"_udp"
_TRANSPORTS: Final = ("_tcp", "_udp")


class EmptyName(msgspec.Struct, frozen=True):
    """A name without records. It exists because of the names below it (RFC 8020)."""


class NameServer(msgspec.Struct, frozen=True):
    """The name server of the zone."""


class ServiceTypes(msgspec.Struct, frozen=True):
    """The list of all types of services."""


class BrowsedDomains(msgspec.Struct, frozen=True):
    """The list of domains in which a client browses for services."""


class InstanceName(msgspec.Struct, frozen=True):
    """One instance, by its short id."""

    short: str


class ServiceName(msgspec.Struct, frozen=True, kw_only=True):
    """A service, or those of its instances with a tag or a transport. A name with a transport has no addresses."""

    label: str
    tag: str = ""
    transport: bytes = b""
    is_type: bool = False  # of the form `_<service>._tcp`, below which its instances are listed
    is_possible: bool = True  # False: no registry accepts such a name, unless it is of another release


class TransportOf(msgspec.Struct, frozen=True):
    """`_tcp.<service>`: exists if the service has this transport."""

    label: str
    transport: bytes
    is_possible: bool


class ListedInstance(msgspec.Struct, frozen=True):
    """One instance as DNS-SD lists it, by its id or short id, in lower case."""

    instance: str
    label: str
    transport: bytes
    is_possible: bool


ZoneName: TypeAlias = (
    EmptyName | NameServer | ServiceTypes | BrowsedDomains | InstanceName | ServiceName | TransportOf | ListedInstance
)


def zone_name(labels: Name) -> ZoneName | None:
    """Return what `labels`, those below the apex in lower case, mean; None for a name that cannot exist."""
    try:
        texts = [label.decode("ascii") for label in labels]
    except UnicodeDecodeError:
        return None
    match texts:
        case [one]:
            return _of_one(one)
        case ["_dns-sd", "_udp"]:
            return EmptyName()
        case [one, "_tcp" | "_udp" as transport] if one.startswith("_"):
            return _service(one[1:], transport=transport, is_type=True)
        case ["_tcp" | "_udp" as transport, one]:
            return TransportOf(label_of(one), transport.encode(), is_service_name(one))
        case [tag, one]:
            return _service(one, tag=tag)
        case [first, second, third]:
            return _of_three(first, second, third)
        case _:
            return None


def _of_one(label: str) -> ZoneName:
    if label in _TRANSPORTS:
        return EmptyName()
    if label == "ns":
        return NameServer()
    short = short_of(label)
    return InstanceName(short) if short is not None else _service(label)


def _of_three(first: str, second: str, third: str) -> ZoneName | None:
    match first, second, third:
        case "_services", "_dns-sd", "_udp":
            return ServiceTypes()
        case "b" | "db" | "lb", "_dns-sd", "_udp":
            return BrowsedDomains()
        case _, "_dns-sd", _:
            return None
        case _, "_tcp" | "_udp", _ if first.startswith("_") and first != "_":
            # The service under its own name, or the instances that say by a tag that they speak the protocol.
            offered = "" if label_of(first[1:]) == label_of(third) else first[1:]
            return _service(third, tag=offered, transport=second)
        case _, _, "_tcp" | "_udp" if second.startswith("_"):
            return ListedInstance(first, label_of(second[1:]), third.encode(), is_service_name(second[1:]))
        case _:
            return None


def short_of(label: str) -> str | None:
    """Return the short id in `i-<short>`, or None when the label is not of that form."""
    digits = label[len(INSTANCE_LABEL) :]
    is_short = label.startswith("i-") and len(digits) == SHORT_ID_LENGTH and set(digits) <= set("0123456789abcdef")
    return digits if is_short else None


def _service(text: str, *, tag: str = "", transport: str = "", is_type: bool = False) -> ServiceName:
    possible = is_service_name(text) and (not tag or is_tag(tag))
    return ServiceName(
        label=label_of(text), tag=tag, transport=transport.encode(), is_type=is_type, is_possible=possible
    )
