"""The mass-expiry guard as `/guard` and `/health` show it: numbers, and one sentence that explains them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from registry_core.api.health import Health
from registry_core.api.health_schemas import GuardView, ShardGuardView
from registry_core.domain.guard import GuardPhase
from registry_core.ports.reports import GuardReport

# Every instance is served, but not every one of them is known to be alive.
GUARD_HEALTH: Final[Mapping[GuardPhase, Health]] = {
    GuardPhase.CLEAR: Health.HEALTHY,
    GuardPhase.RELEASING: Health.DEGRADED,
    GuardPhase.HOLDING: Health.DEGRADED,
}
_ORDER: Final = tuple(GuardPhase)


def guard_view(reports: Iterable[GuardReport]) -> GuardView:
    """Return the state of the guards of all shards."""
    shards = [_shard_view(report) for report in reports]
    return GuardView(
        phase=max((shard.phase for shard in shards), key=_ORDER.index, default=GuardPhase.CLEAR),
        suspects=sum(shard.suspects for shard in shards),
        shards=shards,
    )


def _shard_view(report: GuardReport) -> ShardGuardView:
    return ShardGuardView(
        shard=report.shard,
        phase=report.phase,
        reason=_reason(report),
        instances=report.instances,
        suspects=report.suspects,
        held_seconds=round(report.held_s, 1),
        releases_in_seconds=None if report.releases_in_s is None else round(report.releases_in_s, 1),
        budget_per_minute=round(report.budget_per_minute, 1),
    )


def _reason(report: GuardReport) -> str:
    of_all = f"{report.suspects} of {report.instances} instances"
    match report.phase:
        case GuardPhase.CLEAR:
            return "leases run out one by one"
        case GuardPhase.HOLDING:
            return f"too many leases ran out at once: {of_all} are kept as suspect until they are heard of or released"
        case GuardPhase.RELEASING:
            return f"released: {of_all} are suspect, and {report.budget_per_minute:g} a minute go, in random order"
