"""Judges the settings: wrong ones, and those that differ from the running agent's. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity

FINE = DoctorRule("settings", DoctorSeverity.OK, "the settings are valid (Python {python})")
WRONG = DoctorRule(
    "settings-wrong",
    DoctorSeverity.ERROR,
    "{problem}",
    "the agent does not start with this setting; the findings below assume the defaults",
    "vertice agent --help    # shows every setting with its default",
)
TOLD = DoctorRule(
    "settings-of-agent",
    DoctorSeverity.NOTE,
    "{settings} not set here; the value of the running agent is used",
    "its other settings (zone, DNS port, token) cannot be seen from here",
    "run `vertice doctor` in the environment of the agent (docker exec, or --config FILE)",
)
OTHER_AGENT = DoctorRule(
    "agent-other",
    DoctorSeverity.WARNING,
    "the agent at {http} is not the one that these settings describe: it registers {theirs}, not {ours}",
    "an agent with these settings cannot use the same ports",
    "AGENT_HTTP_LISTEN=127.0.0.1:9880 AGENT_DNS_LISTEN=127.0.0.1:9653    # its own ports",
)
OTHER_REGISTRY = DoctorRule(
    "agent-other-registry",
    DoctorSeverity.WARNING,
    "the agent at {http} uses the registry at {theirs}, but REGISTRY_URL here is {ours}",
    "the running agent was started with other settings, or before they were changed",
    "restart the agent, or run `vertice doctor` with its settings",
)
LATE = DoctorRule(
    "not-examined",
    DoctorSeverity.NOTE,
    "not examined because it took too long: {what}",
    "a disk, name server or network that hangs is a problem in itself",
    "vertice doctor    # again; if this remains, find out what hangs",
)
KINDS: Final = (FINE, WRONG, TOLD, OTHER_AGENT, OTHER_REGISTRY, LATE)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the settings, and on what could not be examined."""
    if facts.settings_problem:
        yield WRONG.found(problem=facts.settings_problem)
    else:
        yield FINE.found(python=facts.python)
    if facts.told_by_agent:
        are = "is" if len(facts.told_by_agent) == 1 else "are"
        yield TOLD.found(settings=f"{' and '.join(facts.told_by_agent)} {are}")
    if facts.agent is not None and not facts.settings_problem:
        yield from _agent(facts)
    if facts.not_in_time:
        yield LATE.found(what=", ".join(facts.not_in_time))


def _agent(facts: Facts) -> Iterator[DoctorFinding]:
    subject, agent = facts.subject, facts.agent
    if agent is None:
        return
    ours = {one.name for one in subject.services}
    theirs = {one.name for one in agent.services}
    if ours and theirs and not ours & theirs:
        yield OTHER_AGENT.found(http=subject.http_listen, ours=_named(ours), theirs=_named(theirs))
    elif agent.registry_urls and set(agent.registry_urls) != set(subject.registry_urls):
        yield OTHER_REGISTRY.found(
            http=subject.http_listen, theirs=", ".join(agent.registry_urls), ours=", ".join(subject.registry_urls)
        )


def _named(services: set[str]) -> str:
    shown = sorted(services)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
