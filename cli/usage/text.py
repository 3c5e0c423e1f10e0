"""Formats who asked for which service, and how far that can be trusted, as text for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cli.durations import lasting
from cli.plurals import counted
from cli.table import aligned
from cli.terminal import printable
from registry_core.usage.views import ConsumerUsage, Observation, ServiceUsage, UsageVerdict, UsageView

HEADINGS: Final = ("SERVICE", "CONSUMER", "DNS", "HTTP", "RATE", "LAST ASKED")
DIRECT: Final = "(clients of the registry)"
UNNAMED: Final = "(agent without services)"
# Of the services behind one agent; -o json has all.
MOST_NAMED: Final = 3


def consumer_name(consumer: ConsumerUsage, most: int = MOST_NAMED) -> str:
    """Return how a consumer is called: the services behind one agent are one consumer, of which `most` are named."""
    if consumer.is_direct:
        return DIRECT
    if consumer.services:
        further = len(consumer.services) - most
        named = printable(", ".join(consumer.services[:most]))
        return f"{named} and {further} more" if further > 0 else named
    return printable(f"agent at {consumer.host}") if consumer.host else UNNAMED


def rate(per_second: float) -> str:
    """Return a rate in the unit in which it is at least one."""
    for factor, unit in ((1.0, "s"), (60.0, "min"), (3600.0, "h")):
        if per_second * factor >= 1:
            return f"{per_second * factor:.3g}/{unit}"
    return f"{per_second * 86_400:.2g}/d" if per_second > 0 else "-"


def usage_lines(view: UsageView) -> list[str]:
    """Return a line for each service and consumer, and how far it can be trusted."""
    rows = [row for one in view.usage for row in _rows(one)]
    table = (
        aligned([HEADINGS, *rows], right=(2, 3, 4)) if rows else ["no service is registered, and none was asked for"]
    )
    return [*table, "", *observation_lines(view.observed)]


def _rows(usage: ServiceUsage) -> Iterator[tuple[str, ...]]:
    name = printable(usage.service) + ("" if usage.registered else " (not registered)")
    if not usage.consumers:
        yield (name, "-" if usage.verdict is UsageVerdict.UNUSED else "not known", "", "", "", "")
    for consumer in usage.consumers:
        ago = f"{lasting(consumer.last_asked_ago_seconds)} ago"
        yield (
            name,
            consumer_name(consumer),
            str(consumer.dns),
            str(consumer.http),
            rate(consumer.rate_per_second),
            ago,
        )


def unused_lines(view: UsageView) -> list[str]:
    """Return the services that nobody asked for, those of which that is not certain, and every doubt."""
    here = [one for one in view.usage if one.registered]
    unused = [printable(one.service) for one in here if one.verdict is UsageVerdict.UNUSED]
    unknown = [printable(one.service) for one in here if one.verdict is UsageVerdict.UNKNOWN]
    within = lasting(view.observed.within_seconds)
    return [
        f"unused: nobody asked for {counted(len(unused), 'service')} within {within}",
        *(f"  {name}" for name in unused),
        *(
            [f"not known: nobody is known to have asked for {counted(len(unknown), 'service')} within {within}"]
            if unknown
            else []
        ),
        *(f"  {name}" for name in unknown),
        "",
        *observation_lines(view.observed),
    ]


def observation_lines(observed: Observation) -> list[str]:
    """Return how long was observed, how many agents, and every doubt."""
    first = (
        f"observed for {lasting(observed.seconds)} (since {printable(observed.since)}), as of "
        f"{lasting(observed.reports_ago_seconds)} ago: {counted(observed.agents, 'agent')}, "
        f"{counted(observed.replicas, 'registry', 'registries')}"
    )
    lines = [first, *(f"doubt: {printable(doubt)}" for doubt in observed.doubts)]
    for agent in observed.unseen:
        services = f" with {printable(', '.join(agent.services))}" if agent.services else ""
        lines.append(
            f"  agent {printable(agent.agent_id)} at {printable(agent.host) or '?'}{services}: "
            f"{printable(agent.because)}, reported {lasting(agent.reported_ago_seconds)} ago"
        )
    return lines


def reasons_against(usage: ServiceUsage, observed: Observation) -> list[str]:
    """Return why a service cannot be deleted with certainty; empty when it can."""
    if usage.verdict is UsageVerdict.UNUSED:
        return []
    if usage.verdict is UsageVerdict.UNKNOWN:
        return [f"it is not certain that nobody uses it: {printable(doubt)}" for doubt in observed.doubts]
    return list(_users(usage.consumers, observed.within_seconds))


def _users(consumers: Iterable[ConsumerUsage], within_s: float) -> Iterator[str]:
    for one in consumers:
        if one.last_asked_ago_seconds <= within_s:
            yield f"{consumer_name(one)} asked for it {lasting(one.last_asked_ago_seconds)} ago"
