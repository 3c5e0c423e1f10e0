"""The observed dependencies of a fleet, and those that its compose file declares beside them. Pure.

The services behind one agent are one consumer: an edge from it is declared when the file declares it for any of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from cli.durations import lasting
from cli.table import aligned
from cli.terminal import printable
from cli.usage.text import consumer_name, observation_lines, rate
from registry_core.domain.names import label_of
from registry_core.usage.views import ConsumerUsage, UsageVerdict, UsageView


class EdgeState(StrEnum):
    """How what is declared and what was asked for go together."""

    OBSERVED = "observed"  # without a file to compare with
    USED = "declared and used"
    NEVER_ASKED = "declared, never asked"
    NOT_KNOWN = "declared, not known"  # its agent does not report, or not everything was observed
    UNDECLARED = "asked, not declared"


class DeclaredEdge(msgspec.Struct, frozen=True):
    """`consumer` needs `target`, by the variables in `via`, or by `depends_on`; names as they are registered."""

    consumer: str
    target: str
    via: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        return printable(", ".join(self.via)) if self.via else "depends_on"


class UsageEdge(msgspec.Struct, frozen=True, kw_only=True):
    """One dependency, as far as it was observed and declared."""

    consumer: str
    service: str
    state: EdgeState
    questions: int = 0
    rate_per_second: float = 0.0
    last_asked_ago_seconds: float | None = None
    declared_by: str = ""


_STYLES: Final = {
    EdgeState.OBSERVED: "",
    EdgeState.USED: "",
    EdgeState.NEVER_ASKED: "style=dashed, color=gray",
    EdgeState.NOT_KNOWN: "style=dotted, color=gray",
    EdgeState.UNDECLARED: "color=red",
}
HEADINGS: Final = ("CONSUMER", "SERVICE", "RATE", "LAST ASKED", "STATE", "DECLARED BY")


def edges_of(view: UsageView, declared: Sequence[DeclaredEdge] | None = None) -> list[UsageEdge]:
    """Return every dependency that was observed within the time in question, and every declared one."""
    within_s = view.observed.within_seconds
    known = {(label_of(edge.consumer), label_of(edge.target)): edge for edge in declared or ()}
    found: list[UsageEdge] = []
    used: set[tuple[str, str]] = set()
    for usage in view.usage:
        for consumer in usage.consumers:
            if consumer.last_asked_ago_seconds > within_s:
                continue
            pairs = [(label_of(one), label_of(usage.service)) for one in consumer.services]
            covering = [known[pair] for pair in pairs if pair in known]
            used.update(pairs)
            found.append(_observed(consumer, usage.service, covering, is_compared=declared is not None))
    observed = {label_of(one) for one in view.observed.services}
    unused = {label_of(one.service) for one in view.usage if one.verdict is not UsageVerdict.USED}
    for pair, edge in known.items():
        if pair not in used:
            certain = pair[0] in observed and not view.observed.doubts
            # A consumer whose agent is observed asked for nothing else, even where others did.
            state = EdgeState.NEVER_ASKED if certain or (pair[1] in unused and not view.observed.doubts) else None
            found.append(
                UsageEdge(
                    consumer=edge.consumer,
                    service=edge.target,
                    state=state or EdgeState.NOT_KNOWN,
                    declared_by=edge.how,
                )
            )
    return sorted(found, key=lambda one: (one.consumer, one.service))


def _observed(
    consumer: ConsumerUsage, service: str, covering: Sequence[DeclaredEdge], *, is_compared: bool
) -> UsageEdge:
    state = EdgeState.OBSERVED
    if is_compared:
        state = EdgeState.USED if covering else EdgeState.UNDECLARED
    return UsageEdge(
        consumer=consumer_name(consumer, most=len(consumer.services)),
        service=printable(service),
        state=state,
        questions=consumer.dns + consumer.http,
        rate_per_second=consumer.rate_per_second,
        last_asked_ago_seconds=consumer.last_asked_ago_seconds,
        declared_by="; ".join(edge.how for edge in covering),
    )


def graph_lines(edges: Iterable[UsageEdge], view: UsageView) -> list[str]:
    """Return a line for each dependency, and how far the graph can be trusted."""
    rows = [
        (
            printable(edge.consumer),
            printable(edge.service),
            rate(edge.rate_per_second),
            "-" if edge.last_asked_ago_seconds is None else f"{lasting(edge.last_asked_ago_seconds)} ago",
            edge.state.value,
            edge.declared_by,
        )
        for edge in edges
    ]
    table = aligned([HEADINGS, *rows], right=(2,)) if rows else ["no dependency was observed"]
    return [*table, "", *observation_lines(view.observed)]


def dot_lines(edges: Sequence[UsageEdge]) -> Iterator[str]:
    """Return the graph in DOT: red was not declared, dashed was never asked for, dotted is not known."""
    yield "digraph usage {"
    yield "  rankdir=LR; node [shape=box];"
    for name in sorted({name for edge in edges for name in (edge.consumer, edge.service)}):
        yield f"  {_quoted(name)};"
    for edge in edges:
        style = _STYLES[edge.state]
        label = f"label={_quoted(rate(edge.rate_per_second))}" if edge.rate_per_second > 0 else ""
        shown = ", ".join(filter(None, (label, style)))
        yield f"  {_quoted(edge.consumer)} -> {_quoted(edge.service)}{f' [{shown}]' if shown else ''};"
    yield "}"


def _quoted(name: str) -> str:
    escaped = printable(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
