"""Which expressions may be empty while nothing is wrong, and why; and which alerts are not seen live, and why.

A line stands for every expression whose place begins with it. A line that is not needed is an error, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Counters that come into being with the first thing that they count: `rate` of what never happened is nothing.
NEVER_HAPPENED: Final = "nothing to count while nothing is wrong"
EMPTY_WITHOUT_A_FAULT: Final[Mapping[str, str]] = {
    "panel:deployment/Traffic/Requests that failed": NEVER_HAPPENED,
    "panel:deployment/Traffic/Refused for credentials": NEVER_HAPPENED,
    "panel:deployment/Audit and certificates/Certificates end in": "the replicas have no TLS and no authority",
    "panel:service/Instances/Certificate ends in": "no agent has certificates of its authority",
    "panel:agents/Checks of their own services/Certificates end in": "no agent has certificates of its authority",
    "panel:agents/Following the registry/Moves to another registry": NEVER_HAPPENED,
    "panel:redis/Safety/Failovers": NEVER_HAPPENED,
    "panel:slo/Levels in the time shown/Client errors while": "it is about faults",
    "panel:slo/Levels in the time shown/A registration is visible to every agent, p99": "it takes 100 changes",
    "mark:": "a mark is drawn where something happens",
    "alert:": "an alert fires when something is wrong",
}
# Empty in the whole of `make observe`: nothing so far.
NEVER_SEEN: Final[Mapping[str, str]] = {}
# The alerts that no fault fires, each with its reason: none so far.
NOT_LIVE: Final[Mapping[str, str]] = {}
# Ages of minutes and dates far ahead: what stands in the rule, and what instead, so that a fault takes seconds.
THRESHOLDS: Final[Mapping[str, tuple[str, str]]] = {
    "AgentViewOld": ("> 60", "> 3"),
    "AgentSnapshotOld": ("> 300", "> 3"),
}


def excused(place: str, lines: Mapping[str, str]) -> str | None:
    """Return the line that stands for an expression; None when there is none."""
    return next((line for line in lines if place.startswith(line)), None)
