"""Checks one service again and again, and says when the verdict changes. It registers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from agent.checks.probes import CheckResult, Probe
from agent.checks.verdict import UNKNOWN, Verdict, after_result
from registry_core.domain.records import Status
from registry_core.domain.selection import Random

# The first check comes soon: a service that is up already is not kept waiting for an interval.
FIRST_CHECK_WITHIN_S: Final = 0.5
# While a service starts it is asked at least this often.
WAITING_CHECK_EVERY_S: Final = 1.0

_log = structlog.get_logger(component="agent.checks")


class CheckPace(msgspec.Struct, frozen=True):
    """How often a service is checked, and how many results in a row count."""

    interval_s: float = 3.0
    rise: int = 2
    fall: int = 2


class Checker:
    """The checks of one service. `changed` gets each new verdict, `seen` every result."""

    def __init__(
        self,
        name: str,
        probe: Probe,
        pace: CheckPace,
        *,
        changed: Callable[[Status, CheckResult], None],
        seen: Callable[[CheckResult], None],
        random: Random,
    ) -> None:
        self._name = name
        self._probe = probe
        self._pace = pace
        self._changed = changed
        self._seen = seen
        self._random = random
        self.verdict = UNKNOWN
        self.last: CheckResult | None = None
        self._was_passing = False

    async def run(self) -> None:
        """Check until cancelled."""
        await asyncio.sleep(self._random.random() * min(FIRST_CHECK_WITHIN_S, self._pace.interval_s))
        loop = asyncio.get_running_loop()
        while True:
            began, before = loop.time(), self.verdict
            try:
                await self.check()
            except Exception:  # noqa: BLE001 - the top of the loop: one odd check must not end the checks
                _log.exception("check_failed", service=self._name)
            # From start to start, so that slow answers do not make a failure known later.
            await asyncio.sleep(max(0.0, self._period_s(before) - (loop.time() - began)))

    async def check(self) -> None:
        """Check once."""
        result = self.last = await self._probe()
        self._seen(result)
        before = self.verdict
        self.verdict = after_result(before, result.good, rise=self._pace.rise, fall=self._pace.fall)
        self._was_passing |= result.good
        if self.verdict.status is not None and self.verdict.status is not before.status:
            self._changed(self.verdict.status, result)

    def _period_s(self, before: Verdict) -> float:
        interval_s, draw = self._pace.interval_s, self._random.random()
        if self.verdict.status is not Status.PASSING and not self._was_passing:
            return min(interval_s, WAITING_CHECK_EVERY_S)
        if before.status is None:
            # Services that became well together are checked apart from each other from then on.
            return interval_s * draw
        return interval_s * (0.95 + draw / 10)
