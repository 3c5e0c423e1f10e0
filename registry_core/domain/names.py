"""Service names, instance ids, tags and hosts: what is allowed, and which spellings mean the same name.

This file holds only the rules. It does not resolve names, nor check whether a name is taken.
"""

from __future__ import annotations

import enum
import hashlib
import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

from registry_core.errors import ValidationError

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MIN_NAME_LENGTH: Final = 3
# A DNS label holds 63 octets (RFC 1035 section 2.3.4). A service name is one label, and so is `_name`, under which its
# SRV records are (RFC 2782); a tag likewise.
MAX_LABEL_LENGTH: Final = 63
MAX_NAME_LENGTH: Final = MAX_LABEL_LENGTH - 1
MAX_TAG_LENGTH: Final = MAX_LABEL_LENGTH - 1
MAX_HOST_LENGTH: Final = 253
MAX_IP_LENGTH: Final = 45  # RFC 4291 section 2.2: six groups, and an IPv4 address at the end
MAX_INSTANCE_ID_LENGTH: Final = 263  # the longest host, a colon, the longest port, "-udp"
SHORT_ID_LENGTH: Final = 12

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{2,62}", re.ASCII)
_RESERVED: Final = re.compile(r"i[-_][0-9a-f]{12}", re.ASCII)
_INSTANCE_ID: Final = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:\[\]-]*", re.ASCII)
_TAG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
# RFC 1123 section 2.1 host names, plus '_' inside a label, because container names contain it.
_HOST_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?", re.ASCII)

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
# An IPv4 address has one spelling: four numbers without leading zeros. It starts with 224 to 239 when it is multicast.
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)
_PLAIN_IPV4: Final = re.compile(rf"(?!22[4-9]|23\d|0\.0\.0\.0){_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)
_MAPPED: Final = "::ffff:"  # the compressed spelling of an address in ::ffff:0:0/96 starts so
_IPV4_OF_NOBODY: Final = re.compile(r"(?:22[4-9]|23\d)\..*|0\.0\.0\.0", re.ASCII)
# Loopback and link-local. `library.lua` has the same.
_LOCAL: Final = re.compile(r"127\..*|169\.254\..*|::1|fe[89ab][0-9a-f]:.*", re.ASCII)

NAME_EXAMPLE: Final = "ip_intelligence_service"


def check_service_name(name: str, *, field: str = "service_name") -> str:
    """Return `name` unchanged. Raises ValidationError, naming the broken rule, when it cannot be registered."""
    problem = _problem_of(name, MAX_NAME_LENGTH)
    if problem is not None:
        raise ValidationError(problem, field=field, provided=name, example=NAME_EXAMPLE)
    return name


def is_service_name(text: str) -> bool:
    """Return whether a service of this name can be registered, or could in an earlier release."""
    return _problem_of(text, MAX_LABEL_LENGTH) is None


def is_tag(text: str) -> bool:
    """Return whether `text` is a valid tag."""
    return _TAG.fullmatch(text) is not None


def check_known_name(name: str, *, field: str = "service_name") -> str:
    """Return `name` unchanged. Raises ValidationError when no release has ever registered such a name.

    Earlier ones registered names of 63 characters. Those are answered, renewed and removed, but not registered again.
    """
    problem = _problem_of(name, MAX_LABEL_LENGTH)
    if problem is not None:
        raise ValidationError(problem, field=field, provided=name, example=NAME_EXAMPLE)
    return name


def _problem_of(name: str, longest: int) -> str | None:
    """Return what is wrong with a name. Cached, since the same are written all the time; but not what is no name."""
    return _cached_problem(name, longest) if len(name) <= MAX_LABEL_LENGTH else _name_problem(name, longest)


def _name_problem(name: str, longest: int) -> str | None:
    if not name:
        return "a service needs a name"
    if len(name) < MIN_NAME_LENGTH:
        return f"a service name has at least {MIN_NAME_LENGTH} characters, this one has {len(name)}"
    if len(name) > longest:
        return (
            f"a service name has at most {MAX_NAME_LENGTH} characters, because a DNS label has at most "
            f"{MAX_LABEL_LENGTH} (RFC 1035), and that of its SRV records has a '_' in front (RFC 2782); "
            f"this one has {len(name)}"
        )
    if name != name.lower():
        return "a service name is written in lower case"
    if name[0] in "_-":
        return f"a service name starts with a letter or a digit, not with {name[0]!r}"
    if not _NAME.fullmatch(name):
        wrong = next((c for c in name if not re.fullmatch(r"[a-z0-9_-]", c, re.ASCII)), name[0])
        return f"a service name holds a-z, 0-9, '_' and '-' only, not {wrong!r}"
    if _RESERVED.fullmatch(name):
        return "names of the form i-<12 hexadecimal digits> are reserved for the addresses of instances"
    return None


_cached_problem: Final = lru_cache(maxsize=16_384)(_name_problem)


def name_in_zone(text: str, zone: str) -> str:
    """Return the service name that `text` means: `auth` for `Auth.vertice.internal.`, `Auth` and `auth`."""
    name = text.lower().removesuffix(".")
    return name.removesuffix(f".{zone.lower().strip('.')}")


def label_of(name: str) -> str:
    """Return the DNS label under which `name` is found: lower case, '_' written as '-'.

    Two names with the same label are the same service to DNS, so they may not both be registered. Cached, since
    it is called all the time, and so that all keys of a service share one string; but not what is no name, which a
    request may choose as long as its body.
    """
    return cached_label_of(name) if len(name) <= MAX_LABEL_LENGTH else name.lower().replace("_", "-")


@lru_cache(maxsize=16_384)
def cached_label_of(name: str) -> str:
    """Return the same, for what may be a name."""
    return name.lower().replace("_", "-")


def is_instance_id(text: str) -> bool:
    """Return whether `text` is a valid instance id."""
    return len(text) <= MAX_INSTANCE_ID_LENGTH and _INSTANCE_ID.fullmatch(text) is not None


def check_instance_id(instance_id: str, *, field: str = "instance_id") -> str:
    """Return `instance_id` unchanged. Raises ValidationError when it could not be part of a URL."""
    if not instance_id or len(instance_id) > MAX_INSTANCE_ID_LENGTH:
        problem = f"an instance id has 1 to {MAX_INSTANCE_ID_LENGTH} characters"
    elif not _INSTANCE_ID.fullmatch(instance_id):
        problem = "an instance id holds letters, digits and . _ : - [ ] and starts with a letter or digit"
    else:
        return instance_id
    raise ValidationError(problem, field=field, provided=instance_id, example="10.0.0.7:8034")


def check_tag(tag: str, *, field: str = "tags") -> str:
    """Return `tag` unchanged. Raises ValidationError when it could not be a DNS label, also with a '_' in front."""
    if not _TAG.fullmatch(tag) or len(tag) > MAX_TAG_LENGTH:
        raise ValidationError(
            f"a tag is one DNS label: 1 to {MAX_TAG_LENGTH} of a-z, 0-9 and '-', with '-' neither first nor last",
            field=field,
            provided=tag,
            example="canary",
        )
    return tag


def check_host(host: str, *, field: str = "host") -> str:
    """Return `host` in its canonical spelling; a host name in lower case.

    Raises ValidationError for what is neither an IPv4 or IPv6 address, nor a host name of RFC 1123
    (with '_' allowed inside a label, for container names), and for an address that means nothing to others.
    """
    example = "10.0.0.7"
    if not host or len(host) > MAX_HOST_LENGTH:
        raise ValidationError(
            f"a host has 1 to {MAX_HOST_LENGTH} characters", field=field, provided=host, example=example
        )
    if is_plain_ipv4(host):
        return host
    # A scope makes sense on the one machine that has this interface, and no DNS record can hold it.
    address = canonical_ip(host.partition("%")[0])
    if address is not None:
        problem = address_problem(address, scoped="%" in host)
        if problem is not None:
            raise ValidationError(problem, field=field, provided=host, example=example)
        return address
    labels = host.split(".")
    # Digits and dots that are not an IPv4 address: "10.0.0" or "300.1.2.3" would resolve to surprises.
    if labels[-1].isdigit() or not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise ValidationError(
            "a host is an IPv4 or IPv6 address or a host name (RFC 1123), without port or brackets",
            field=field,
            provided=host,
            example=example,
        )
    return host.lower()


def is_plain_ipv4(host: str) -> bool:
    """Return whether `host` is an IPv4 address to which clients elsewhere may connect, in its one spelling."""
    return _PLAIN_IPV4.fullmatch(host) is not None


def canonical_ip(host: str) -> str | None:
    """Return the canonical spelling of the IP address `host`, or None when it is a host name or has a scope id.

    That of an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is the IPv4 address: it is the same host.
    """
    if _IPV4.fullmatch(host):  # nearly all are; this takes a seventh of the time of `ipaddress`
        return host
    address = ip_address(host)
    return None if address is None else address.compressed


def address_problem(ip: str, *, scoped: bool = False) -> str | None:
    """Return why no client elsewhere can connect to `ip` (canonical spelling); None when one may."""
    if scoped:
        return (
            "an address with a scope (%eth0) makes sense on one machine only, and DNS cannot hold the scope; "
            "register a global or a unique local address (fd00::/8)"
        )
    if _IPV4.fullmatch(ip):
        nobody, link_local = _IPV4_OF_NOBODY.fullmatch(ip) is not None, False
    else:
        address = ip_address(ip)
        nobody = address is not None and (address.is_unspecified or address.is_multicast)
        link_local = address is not None and address.is_link_local
    if link_local:
        return (
            "a link-local IPv6 address (fe80::/10) is another machine on each link, and DNS cannot say which link; "
            "register a global or a unique local address (fd00::/8)"
        )
    return "no client can connect to an unspecified or multicast address" if nobody else None


class Reach(enum.IntEnum):
    """From where an address leads to the same machine, narrowest first (RFC 4007, RFC 6890)."""

    MACHINE = 0  # loopback: each machine connects to itself
    LINK = 1  # link-local: 169.254.0.0/16, fe80::/10
    ANYWHERE = 2


def reach_of(ip: str) -> Reach:
    """Return from where `ip`, an address without a scope, leads to the same machine."""
    address = ip_address(ip)
    if address is None or not (address.is_loopback or address.is_link_local):
        return Reach.ANYWHERE
    return Reach.MACHINE if address.is_loopback else Reach.LINK


def widest_reach(ips: Iterable[str]) -> Reach:
    """Return the widest reach among addresses; without any, the narrowest that there is."""
    return max(map(reach_of, ips), default=Reach.MACHINE)


def all_loopback(ips: Iterable[str]) -> bool:
    """Return whether there are addresses, and all mean the machine that connects to them."""
    found = [len(ip) <= MAX_IP_LENGTH and _is_loopback(ip) for ip in ips]
    return bool(found) and all(found)


@lru_cache(maxsize=4096)  # the library searches a network for each answer
def _is_loopback(ip: str) -> bool:
    address = ip_address(ip)
    return address is not None and address.is_loopback


def is_link_local(ip: str) -> bool:
    """Return whether `ip`, with or without a scope, is an IPv6 address that is valid on one link only."""
    address = ip_address(ip.partition("%")[0])
    return address is not None and address.version == 6 and address.is_link_local


def is_local(ip: str) -> bool:
    """Return whether `ip` (canonical spelling) is another machine for each that connects: loopback or link-local."""
    return _LOCAL.fullmatch(ip) is not None


def unmapped_ip(ip: str) -> str:
    """Return `ip` (canonical spelling of any release); an IPv4-mapped IPv6 address as the IPv4 address."""
    return canonical_ip(ip) or ip if ip.startswith(_MAPPED) else ip


def unmapped(address: IpAddress) -> IpAddress:
    """Return `address`, or the IPv4 address in an IPv4-mapped IPv6 address."""
    return getattr(address, "ipv4_mapped", None) or address


def ip_address(host: str) -> IpAddress | None:
    """Return `host` as an IP address, an IPv4-mapped one as IPv4; None when it is a host name or has a scope id."""
    # What is longer, as a request may choose it, is not kept.
    return _parsed_ip(host) if len(host) <= MAX_IP_LENGTH and "%" not in host else None


@lru_cache(maxsize=4096)
def _parsed_ip(host: str) -> IpAddress | None:
    try:
        return unmapped(ipaddress.ip_address(host))
    except ValueError:
        return None


def short_id(service_name: str, instance_id: str) -> str:
    """Return the 12 hexadecimal digits that name one instance in DNS (`i-<short>.<zone>`).

    Short, so that SRV answers stay small: 48 bits of BLAKE2. Among 100,000 instances, the chance that
    any two collide is 1 in 50,000.
    """
    key = f"{label_of(service_name)}\0{instance_id}".encode()
    return hashlib.blake2s(key, digest_size=SHORT_ID_LENGTH // 2).hexdigest()
