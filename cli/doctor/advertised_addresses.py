"""Judges whether others can reach the addresses under which services are registered. Pure.

It knows only how an address looks on this machine, and which source address the registry sees. It asks
nothing to connect back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from cli.doctor.facts import AdvertisedService, Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity
from registry_core.domain.host_port import host_port

_DOCKER_BRIDGE: Final = ipaddress.ip_network("172.17.0.0/16")
# The registry's default REGISTRY_MIN_PORT.
_LOWEST_PORT: Final = 1024

FINE = DoctorRule(
    "advertised", DoctorSeverity.OK, "{name} is registered as {where}, an address of this machine, and listens there"
)
UNRESOLVABLE = DoctorRule(
    "advertised-unresolvable",
    DoctorSeverity.ERROR,
    "{name}: its host {host} cannot be resolved here",
    "it is registered without an address, so that DNS has no answer",
    "SERVICE_HOST=10.0.0.7    # the address at which others reach it",
)
LOOPBACK = DoctorRule(
    "advertised-loopback",
    DoctorSeverity.ERROR,
    "{name} has the address {where}, which is loopback, and the registry is on another machine",
    "the agent does not register it: every client that looks it up would connect to its own machine",
    "SERVICE_HOST=10.0.0.7    # the address at which others reach it; if {host} is a name, look in /etc/hosts",
)
LOOPBACK_HERE = DoctorRule(
    "advertised-loopback-here",
    DoctorSeverity.NOTE,
    "{name} is registered as {where}, which is loopback",
    "it can be reached only on this machine, where the registry is too",
    "SERVICE_HOST=10.0.0.7    # once other machines must reach it",
)
LINK_LOCAL = DoctorRule(
    "advertised-link-local",
    DoctorSeverity.ERROR,
    "{name} has the address {where}, which is link-local",
    "the agent does not register it unless the registry is link-local too: on each network it is another machine",
    "SERVICE_HOST=10.0.0.7    # the address at which others reach it",
)
UNUSABLE = DoctorRule(
    "advertised-unusable",
    DoctorSeverity.ERROR,
    "{name} is registered as {where}, which is not an address to connect to",
    "unspecified and multicast addresses belong to no machine",
    "SERVICE_HOST=10.0.0.7    # the address at which others reach it",
)
BRIDGE = DoctorRule(
    "advertised-docker-bridge",
    DoctorSeverity.WARNING,
    "{name} is registered as {where}, an address of Docker's default bridge",
    "every Docker host has the same ones: from another host it leads nowhere or to another container",
    "SERVICE_HOST=10.0.0.7 SERVICE_PORT=8034    # the host's address and the published port; or `network_mode: host`",
)
TRANSLATED = DoctorRule(
    "advertised-translated",
    DoctorSeverity.WARNING,
    "{name} is registered as {where}, but the registry sees this machine at {seen_as}",
    "there is an address translation or a proxy in between: for other machines {host} may lead nowhere",
    "SERVICE_HOST={seen_as}    # for a translation, with the published port; change nothing for a proxy",
)
FOREIGN = DoctorRule(
    "advertised-foreign",
    DoctorSeverity.NOTE,
    "{name} is registered as {where}, which is not an address of this machine (it has {addresses})",
    "that is right behind an address translation, or if the service is elsewhere",
    "SERVICE_HOST={first}    # in any other case",
)
NOT_LISTENING = DoctorRule(
    "advertised-not-listening",
    DoctorSeverity.WARNING,
    "{name} is registered as {where}, but nothing listens there",
    "it leaves the answers after its check has failed twice; a service that listens only on 127.0.0.1 looks the same",
    "ss -ltn 'sport = :{port}'    # is it running, and on which address?",
)
LOW_PORT = DoctorRule(
    "advertised-low-port",
    DoctorSeverity.NOTE,
    "{name} has port {port}, and a registry refuses ports below 1024 by default",
    "the registration is refused permanently",
    "REGISTRY_MIN_PORT=1    # at the registry",
)
KINDS: Final = (
    *(FINE, UNRESOLVABLE, LOOPBACK, LOOPBACK_HERE, LINK_LOCAL, UNUSABLE, BRIDGE, TRANSLATED, FOREIGN),
    *(NOT_LISTENING, LOW_PORT),
)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on each service's address."""
    for service in facts.subject.services:
        found = list(_address(service, facts))
        if service.listening is False:
            found.append(NOT_LISTENING.found(name=service.name, where=_where(service), port=service.port))
        if service.port < _LOWEST_PORT:
            found.append(LOW_PORT.found(name=service.name, port=service.port))
        yield from found or [FINE.found(name=service.name, where=_where(service))]


def _address(service: AdvertisedService, facts: Facts) -> Iterator[DoctorFinding]:
    name, host, where = service.name, service.host, _where(service)
    addresses = [ipaddress.ip_address(address) for address in service.addresses]
    if not addresses:
        yield UNRESOLVABLE.found(name=name, host=host)
    elif any(address.is_unspecified or address.is_multicast for address in addresses):
        yield UNUSABLE.found(name=name, where=where)
    elif any(address.is_loopback for address in addresses):
        kind = LOOPBACK_HERE if _registry_is_here(facts) else LOOPBACK
        yield kind.found(name=name, where=where, host=host)
    elif any(address.is_link_local for address in addresses):
        yield LINK_LOCAL.found(name=name, where=where)
    else:
        yield from _reachable(service, facts)


def _reachable(service: AdvertisedService, facts: Facts) -> Iterator[DoctorFinding]:
    name, where, own = service.name, _where(service), facts.machine.addresses
    is_own = any(address in own for address in service.addresses)
    bridged = any(ipaddress.ip_address(address) in _DOCKER_BRIDGE for address in service.addresses)
    # Behind NAT the registry sees an address that is neither ours nor the registered one.
    strange = [
        seen.seen_as
        for seen in facts.registries
        if seen.seen_as and seen.seen_as not in own and seen.seen_as not in service.addresses
    ]
    if facts.machine.in_container and is_own and bridged:
        yield BRIDGE.found(name=name, where=where)
    elif is_own and strange:
        yield TRANSLATED.found(name=name, where=where, seen_as=strange[0], host=service.host)
    elif not is_own and own and not any(seen.seen_as in service.addresses for seen in facts.registries):
        yield FOREIGN.found(name=name, where=where, addresses=", ".join(own), first=own[0])


def _registry_is_here(facts: Facts) -> bool:
    hosts = [urlsplit(url).hostname or "" for url in facts.subject.registry_urls]
    return all(host == "localhost" or _is_loopback(host) for host in hosts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _where(service: AdvertisedService) -> str:
    at = ", ".join(service.addresses)
    return host_port(service.host, service.port) + (f" ({at})" if at and at != service.host else "")
