"""Judges the lookup of a name that only an agent knows, made with getaddrinfo() as every program does. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import DNS_PORT, Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity

# An agent's answer for `ns.<zone>`: the querying machine.
AGENT_ADDRESS: Final = "127.0.0.1"
SLOW_S: Final = 0.5

FINE = DoctorRule("lookup", DoctorSeverity.OK, "getaddrinfo({name}) reaches the agent")
SLOW = DoctorRule(
    "lookup-slow",
    DoctorSeverity.WARNING,
    "getaddrinfo({name}) reaches the agent, but takes {took} s",
    "every lookup here takes as long, usually because a server does not answer",
    "time getent ahosts {name}    # and see the findings on /etc/resolv.conf",
)
LOST = DoctorRule(
    "lookup-lost",
    DoctorSeverity.ERROR,
    "the agent runs, but getaddrinfo({name}) does not reach it: {problem}",
    "programs here cannot find services by name",
    "see the findings on /etc/resolv.conf and nsswitch.conf; dig @{agent} {name} asks the agent directly",
)
HANGS = DoctorRule(
    "lookup-hangs",
    DoctorSeverity.ERROR,
    "getaddrinfo({name}) did not return in time",
    "every lookup here may hang like that",
    "see the findings on /etc/resolv.conf; dig @{agent} {name} asks the agent directly",
)
KINDS: Final = (FINE, SLOW, LOST, HANGS)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the lookup. It may fail on a port other than 53, and in a container of the agent alone.

    Another judge reports both.
    """
    lookup, agent = facts.lookup, facts.subject.dns_listen
    if lookup is None:
        return
    if not lookup.done:
        yield HANGS.found(name=lookup.name, agent=agent.host)
    elif AGENT_ADDRESS in lookup.addresses:
        slow = lookup.took_s > SLOW_S
        yield (SLOW if slow else FINE).found(name=lookup.name, took=f"{lookup.took_s:.1f}")
    elif facts.agent is not None and agent.port == DNS_PORT and not facts.machine.is_agents_own:
        problem = lookup.problem or f"the answer is {', '.join(lookup.addresses) or 'empty'}"
        yield LOST.found(name=lookup.name, problem=problem, agent=agent.host)
