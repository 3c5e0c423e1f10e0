"""What followers know of agents, as they tell it upwards, and what that adds to the part of a replica. Pure.

The agents themselves go into the replica's ledger, like those that report to it; here is the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from registry_core.usage.ledger import AgentEntry, AgentLedger, ReplicaPart
from registry_core.usage.limits import MAX_REPORT_PAIRS
from registry_core.usage.report import Age, Asked, Count, Face

# Agents in one report of a follower, and octets of them: a body has room for both.
MAX_ENTRIES: Final = 200
MAX_ENTRY_BYTES: Final = 40 * 1024
# Services that clients ask a follower for itself, in its reports: those of the latest questions.
MAX_DIRECT: Final = 400
# A question is in one of the reports of the next few periods; what was asked before was told before.
_PERIODS: Final = 4
_ENCODER: Final = msgspec.json.Encoder()


class FollowedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a follower knows, beside its agents. The fields mean what they mean in ReplicaPart."""

    complete_s: Age
    unreported: Count = 0
    left_out: Count = 0
    direct: Annotated[tuple[Asked, ...], Meta(max_length=MAX_DIRECT)] = ()
    direct_s: Age = 0.0
    direct_left_out: Count = 0
    knows_all: bool = True


def usage_of(part: ReplicaPart) -> FollowedUsage:
    """Return what a follower with this part tells its upstream, beside its agents."""
    latest = sorted(part.direct, key=lambda one: one.ago_s)
    return FollowedUsage(
        complete_s=part.complete_s,
        unreported=part.unreported,
        left_out=part.left_out,
        direct=tuple(latest[:MAX_DIRECT]),
        direct_s=part.direct_s,
        direct_left_out=part.direct_left_out + max(0, len(latest) - MAX_DIRECT),
        knows_all=part.knows_all,
    )


def with_followed(part: ReplicaPart, followed: Sequence[FollowedUsage], silent: int) -> ReplicaPart:
    """Return the part of a replica with what its followers told; of `silent` ones nothing is known."""
    if not followed and not silent:
        return part
    direct: dict[tuple[str, Face], Asked] = {}
    for one in (*part.direct, *(asked for usage in followed for asked in usage.direct)):
        known = direct.get((one.label, one.face))
        direct[one.label, one.face] = (
            one if known is None else Asked(one.label, one.face, known.count + one.count, min(known.ago_s, one.ago_s))
        )
    return msgspec.structs.replace(
        part,
        complete_s=min((part.complete_s, *(one.complete_s for one in followed))),
        unreported=part.unreported + sum(one.unreported for one in followed) + silent,
        unreported_ago_s=0.0 if silent else part.unreported_ago_s,
        left_out=part.left_out + sum(one.left_out for one in followed),
        direct=tuple(direct.values()) if part.direct or any(one.direct for one in followed) else (),
        direct_s=max((part.direct_s, *(one.direct_s for one in followed))),
        direct_left_out=part.direct_left_out + sum(one.direct_left_out for one in followed),
        knows_all=part.knows_all and all(one.knows_all for one in followed),
    )


def entries_since(ledger: AgentLedger, since: float, now: float, every_s: float) -> Iterator[AgentEntry]:
    """Yield what is known of the agents that reported after `since`, -inf for all; one with much usage in parts."""
    for agent_id in ledger.heard_since(since):
        entry = ledger.entry(agent_id, now)
        if entry is None:
            continue
        latest_s = now - since + _PERIODS * every_s
        pairs = [one for one in entry.report.usage if one.ago_s <= latest_s]
        for start in range(0, max(1, len(pairs)), MAX_REPORT_PAIRS):
            usage = tuple(pairs[start : start + MAX_REPORT_PAIRS])
            yield msgspec.structs.replace(entry, report=msgspec.structs.replace(entry.report, usage=usage))


def in_batches(entries: Iterable[AgentEntry]) -> Iterator[list[AgentEntry]]:
    """Yield the entries in lists, each small enough for one report; at least one, which may be empty."""
    batch: list[AgentEntry] = []
    size = 0
    for entry in entries:
        octets = len(_ENCODER.encode(entry))
        if batch and (size + octets > MAX_ENTRY_BYTES or len(batch) >= MAX_ENTRIES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += octets
    yield batch
