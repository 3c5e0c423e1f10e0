"""Judges what lies between a program and resolv.conf: glibc's nsswitch.conf, and what musl cannot do. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity
from cli.doctor.stub import TELL_SYSTEMD

# nsswitch.conf(5): what glibc does when the line is missing.
_DEFAULT: Final = ("files", "dns")
# The first version of musl that retries over TCP.
_TCP_SINCE: Final = (1, 2, 4)

GLIBC = DoctorRule("libc", DoctorSeverity.OK, "programs here use glibc{version}")
MUSL = DoctorRule(
    "musl",
    DoctorSeverity.NOTE,
    "programs here use musl{version}",
    "it asks all servers in resolv.conf at once, ignores nsswitch.conf, and treats REFUSED as no answer",
    "keep only the agent as `nameserver` in /etc/resolv.conf",
)
MUSL_OLD = DoctorRule(
    "musl-without-tcp",
    DoctorSeverity.NOTE,
    "programs here use musl {version}, which before 1.2.4 never retries over TCP",
    "for a large service they see only the addresses that fit in a datagram (about 29), others at each lookup",
    "update the image (Alpine 3.18 or newer)",
)
MDNS_LOCAL = DoctorRule(
    "nsswitch-mdns",
    DoctorSeverity.ERROR,
    "nsswitch.conf ends lookups under .local at {module}, before DNS is asked, and the zone is {zone}",
    "no service is found by name, although the agent would answer",
    "AGENT_DNS_ZONE=vertice.internal    # .local is for multicast DNS, RFC 6762",
)
NO_DNS = DoctorRule(
    "nsswitch-no-dns",
    DoctorSeverity.ERROR,
    "nsswitch.conf does not ask DNS: hosts: {hosts}",
    "no service is found by name through getaddrinfo()",
    "hosts: files dns    # in /etc/nsswitch.conf",
)
RESOLVED = DoctorRule(
    "nsswitch-resolve",
    DoctorSeverity.NOTE,
    "nsswitch.conf asks systemd-resolved before DNS: hosts: {hosts}",
    "while it runs, programs bypass resolv.conf, so that it must send {zone} to the agent",
    TELL_SYSTEMD,
)
KINDS: Final = (GLIBC, MUSL, MUSL_OLD, MDNS_LOCAL, NO_DNS, RESOLVED)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the libc, and on nsswitch.conf if the libc reads it."""
    libc = facts.machine.libc
    version = f" {libc.version}" if libc.version else ""
    if not libc.is_musl:
        yield GLIBC.found(version=version)
        yield from _nsswitch(facts)
    elif libc.version and _parts(libc.version) < _TCP_SINCE:
        yield MUSL_OLD.found(version=libc.version)
    else:
        yield MUSL.found(version=version)


def _nsswitch(facts: Facts) -> Iterator[DoctorFinding]:
    zone = facts.subject.zone
    sources = hosts_line(facts.machine.nsswitch or "")
    hosts = " ".join(sources)
    dns = sources.index("dns") if "dns" in sources else len(sources)
    before = sources[:dns]
    for at, module in enumerate(before):
        # The minimal modules handle .local only; the others handle every name.
        ends = at + 1 < len(before) and "NOTFOUND=RETURN" in before[at + 1].upper().replace(" ", "")
        if module.startswith("mdns") and ends and (zone == "local" or zone.endswith(".local")):
            yield MDNS_LOCAL.found(module=module, zone=zone)
    if "resolve" in before:
        yield RESOLVED.found(hosts=hosts, zone=zone, agent=facts.subject.dns_listen)
    elif dns == len(sources):
        yield NO_DNS.found(hosts=hosts)


def hosts_line(text: str) -> tuple[str, ...]:
    """Return the sources of `hosts:` in order; an action in brackets is one item (nsswitch.conf(5))."""
    for line in text.splitlines():
        match = re.match(r"\s*hosts\s*:([^#]*)", line)
        if match is not None:
            return tuple(re.findall(r"\[[^\]]*\]|[^\s\[]+", match[1]))
    return _DEFAULT


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
