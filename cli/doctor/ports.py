"""Judges the agent's own ports: free, held by the agent or by another program, and whether it may bind them. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts, ZoneAnswer
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity
from registry_core.domain.host_port import ANY_IPV4, ANY_IPV6
from registry_core.domain.registration import MAX_PORT
from registry_core.listening_sockets import canonical, clash
from registry_core.settings import Listen

_ANYWHERE: Final = (ANY_IPV4, ANY_IPV6)
_FURTHER: Final = 1000

RUNNING = DoctorRule("agent", DoctorSeverity.OK, "an agent answers at {http}")
NOT_RUNNING = DoctorRule(
    "agent-not-running",
    DoctorSeverity.NOTE,
    "no agent answers at {http}",
    "the findings below are about an agent with these settings",
    "vertice agent    # or set AGENT_HTTP_LISTEN as for the running agent",
)
FREE = DoctorRule("port", DoctorSeverity.OK, "{where} ({kind}) is free for {face}")
OURS = DoctorRule("port-ours", DoctorSeverity.OK, "the agent uses {where} for {face}")
TAKEN = DoctorRule(
    "port-taken",
    DoctorSeverity.ERROR,
    "{where} ({kind}), which the agent needs for {face}, is taken by {holder}",
    "the agent does not start: `cannot listen on {where}`",
    "{setting}={other}    # or stop {holder}",
)
AWAY = DoctorRule(
    "agent-dns-elsewhere",
    DoctorSeverity.WARNING,
    "an agent runs, but nothing answers DNS at {where}",
    "the running agent has another AGENT_DNS_LISTEN than is set here, or its DNS hangs",
    "run `vertice doctor` with the agent's own settings (AGENT_DNS_LISTEN, or --config FILE)",
)
OTHER_ZONE = DoctorRule(
    "agent-dns-zone",
    DoctorSeverity.WARNING,
    "the DNS server at {where} does not answer for the zone {zone}",
    "the running agent has another AGENT_DNS_ZONE than is set here, or the server is not an agent",
    "run `vertice doctor` with the agent's own settings (AGENT_DNS_ZONE, or --config FILE)",
)
NOT_PERMITTED = DoctorRule(
    "port-privileged",
    DoctorSeverity.ERROR,
    "{where}: ports below {low_ports_end} need a privilege that this user does not have",
    "the agent does not start: it cannot listen on {where}",
    "cap_add: [NET_BIND_SERVICE]    # compose; for systemd AmbientCapabilities=CAP_NET_BIND_SERVICE; or "
    "sysctl -w net.ipv4.ip_unprivileged_port_start={port}",
)
NO_SUCH_ADDRESS = DoctorRule(
    "listen-address",
    DoctorSeverity.ERROR,
    "{where}: this machine has no address {host} (it has {addresses})",
    "the agent does not start: it cannot listen on another machine's address",
    "{setting}=127.0.0.1:{port}",
)
ONLY_LOOPBACK = DoctorRule(
    "dns-allow",
    DoctorSeverity.NOTE,
    "the agent answers DNS on {where}, but only this machine's loopback may ask",
    "containers with their own network, and other machines, are refused (Extended DNS Error 18)",
    "AGENT_DNS_ALLOW=10.0.0.0/8    # the networks that may ask; or AGENT_DNS_LISTEN=127.0.0.1:{port}",
)
KINDS: Final = (
    *(RUNNING, NOT_RUNNING, FREE, OURS, TAKEN, AWAY, OTHER_ZONE),
    *(NOT_PERMITTED, NO_SUCH_ADDRESS, ONLY_LOOPBACK),
)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the ports that the agent holds or would bind."""
    subject = facts.subject
    http, dns = subject.http_listen, subject.dns_listen
    if facts.agent is not None:
        yield RUNNING.found(http=http)
        yield OURS.found(where=http, face="HTTP")
    else:
        yield NOT_RUNNING.found(http=http)
        yield from _port(facts, http, "HTTP", "AGENT_HTTP_LISTEN", ("tcp",))
    if facts.dns_answer is ZoneAnswer.OURS:
        yield OURS.found(where=dns, face="DNS")
    elif facts.agent is None:
        yield from _port(facts, dns, "DNS", "AGENT_DNS_LISTEN", ("udp", "tcp"))
    elif facts.dns_answer is ZoneAnswer.SILENT:
        yield AWAY.found(where=dns)
    elif facts.dns_answer is not None:
        yield OTHER_ZONE.found(where=dns, zone=subject.zone)
    if subject.allows_only_loopback and not dns.is_loopback:
        yield ONLY_LOOPBACK.found(where=dns, port=dns.port)


def _port(facts: Facts, where: Listen, face: str, setting: str, kinds: tuple[str, ...]) -> Iterator[DoctorFinding]:
    machine = facts.machine
    if not _is_here(where.host, machine.addresses):
        shown = ", ".join(machine.addresses) or "only loopback"
        yield NO_SUCH_ADDRESS.found(where=where, host=where.host, addresses=shown, setting=setting, port=where.port)
        return
    for kind in kinds:
        rival = next((one for one in machine.listeners if one.kind == kind and clash(one, where)), None)
        if rival is None:
            continue
        # A program on another loopback address blocks the port only for an agent that wants every address.
        beside = where.host in _ANYWHERE and rival.host not in _ANYWHERE
        further = where.port + _FURTHER if where.port + _FURTHER <= MAX_PORT else where.port - _FURTHER
        other = Listen("127.0.0.1", where.port if beside else further)
        holder = rival.holder or "another program"
        yield TAKEN.found(where=where, kind=kind, face=face, holder=holder, setting=setting, other=other)
        return
    if 0 < where.port < machine.low_ports_end and not machine.may_bind_low:
        yield NOT_PERMITTED.found(where=where, low_ports_end=machine.low_ports_end, port=where.port)
        return
    yield FREE.found(where=where, kind=", ".join(kinds), face=face)


def _is_here(host: str, addresses: tuple[str, ...]) -> bool:
    if host in _ANYWHERE or not addresses:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback or canonical(host) in {canonical(one) for one in addresses}
    except ValueError:
        return True  # a name: the agent reports a wrong one at its start
