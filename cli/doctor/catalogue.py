"""Lists every judge and every kind of finding; the documentation is generated from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from cli.doctor import (
    advertised_addresses,
    agent_health,
    configuration,
    exposure,
    followers,
    java,
    libc,
    limits,
    lookup,
    ports,
    proxies,
    registries,
    resolvers_in_front,
    state_dir,
    stub,
    zone,
)
from cli.doctor.facts import Facts
from cli.doctor.finding import WORST_FIRST, DoctorFinding, DoctorRule


class Chapter(NamedTuple):
    """The subject of one judge, and the kinds of findings that it can make."""

    title: str
    judge: Callable[[Facts], Iterable[DoctorFinding]]
    kinds: tuple[DoctorRule, ...]


CHAPTERS: Final = (
    Chapter("Settings", configuration.judge, configuration.KINDS),
    Chapter("The agent", agent_health.judge, agent_health.KINDS),
    Chapter("Lookups", lookup.judge, lookup.KINDS),
    Chapter("resolv.conf", stub.judge, stub.KINDS),
    Chapter("Resolvers in front", resolvers_in_front.judge, resolvers_in_front.KINDS),
    Chapter("libc", libc.judge, libc.KINDS),
    Chapter("Java", java.judge, java.KINDS),
    Chapter("The zone", zone.judge, zone.KINDS),
    Chapter("Ports", ports.judge, ports.KINDS),
    Chapter("The advertised address", advertised_addresses.judge, advertised_addresses.KINDS),
    Chapter("The registry", registries.judge, registries.KINDS),
    Chapter("Registries that follow another one", followers.judge, followers.KINDS),
    Chapter("What is open", exposure.judge, exposure.KINDS),
    Chapter("AGENT_STATE_DIR", state_dir.judge, state_dir.KINDS),
    Chapter("Proxies", proxies.judge, proxies.KINDS),
    Chapter("Limits", limits.judge, limits.KINDS),
)


def findings(facts: Facts) -> list[DoctorFinding]:
    """Return all findings, worst first, then in the order of the chapters."""
    found = [finding for chapter in CHAPTERS for finding in chapter.judge(facts)]
    return sorted(found, key=lambda finding: WORST_FIRST.index(finding.severity))
