"""Judges the resolvers through which programs reach the agent: what they keep back of its answers. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts, ZoneAnswer
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity

# The default of BIND's `max-records-per-type`, since 9.18.28 and 9.20.
MOST_IN_BIND: Final = 100

REBIND = DoctorRule(
    "rebind-protection",
    DoctorSeverity.ERROR,
    "{server} asks the agent, but leaves the private addresses out of its answers: it protects against DNS rebinding",
    "services at private addresses have no address for programs that ask it (dnsmasq `stop-dns-rebind`, unbound "
    "`private-address`, BIND `deny-answer-addresses`)",
    'rebind-domain-ok=/{zone}/    # dnsmasq; unbound: private-domain: "{zone}"; BIND: except-from {{ "{zone}"; }}',
)
VALIDATES = DoctorRule(
    "validating-resolver",
    DoctorSeverity.ERROR,
    "{server} asks the agent, but validates DNSSEC and rejects the zone {zone}, which nobody signs",
    "every lookup of a service there ends with SERVFAIL, or with a timeout",
    'domain-insecure: "{zone}"    # unbound; BIND: validate-except {{ "{zone}"; }}; systemd-resolved: DNSSEC=no',
)
HUNDRED = DoctorRule(
    "large-service-refused",
    DoctorSeverity.ERROR,
    "{server} asks the agent, but fails for the {count} SRV records of {name}",
    "BIND answers SERVFAIL for more than {most} records of one type, unless it is told otherwise",
    "max-records-per-type 0;    # in the options of BIND",
)
KINDS: Final = (REBIND, VALIDATES, HUNDRED)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on resolvers between programs and the agent."""
    zone = facts.subject.zone
    for server, answer in facts.nameservers.items():
        if answer is ZoneAnswer.FILTERED:
            yield REBIND.found(server=server, zone=zone)
        elif answer is ZoneAnswer.BOGUS:
            yield VALIDATES.found(server=server, zone=zone)
        if server in facts.large_refused and facts.agent is not None:
            name = f"_{facts.agent.largest_service}._tcp.{zone}"
            yield HUNDRED.found(server=server, name=name, count=facts.agent.largest_instances, most=MOST_IN_BIND)
