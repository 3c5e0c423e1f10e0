"""Logs when the mass-expiry guard of a shard begins to hold, releases, and is clear again.

It logs each change once, however often it is called, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from registry_core.domain.guard import GuardPhase
from registry_core.ports.reports import GuardReport

log = structlog.get_logger()


class GuardLog:
    """Remembers the last seen phase of each shard's guard."""

    def __init__(self) -> None:
        self._phases: dict[str, GuardPhase] = {}

    def see(self, reports: Iterable[GuardReport]) -> None:
        """Log the changes since the last call."""
        for report in reports:
            before = self._phases.get(report.shard, GuardPhase.CLEAR)
            self._phases[report.shard] = report.phase
            if before is not report.phase:
                _say(report)


def _say(report: GuardReport) -> None:
    missing = {"shard": report.shard, "suspects": report.suspects, "instances": report.instances}
    match report.phase:
        case GuardPhase.HOLDING:
            log.warning(
                "guard holds: too many leases ran out at once",
                **missing,
                releases_in_s=None if report.releases_in_s is None else round(report.releases_in_s, 1),
                override="vertice guard release",
            )
        case GuardPhase.RELEASING:
            log.warning("guard lets go", **missing, budget_per_minute=round(report.budget_per_minute, 1))
        case GuardPhase.CLEAR:
            log.info("guard is clear", **missing)
