"""Runs one check periodically, and reports each new verdict. It registers nothing."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from agent.checks.flapping import Damper, after_verdict
from agent.checks.result import (
    STOOD_STILL_S,
    CheckOutcome,
    CheckResult,
    NotChecked,
    Probe,
    after_error,
    critical,
    shown,
)
from agent.checks.spec import CheckSpec, TtlCheck
from agent.checks.verdict import UNKNOWN, CheckVerdict, after_result
from registry_core.domain.records import Status
from registry_core.domain.selection import Random

# The first check comes soon, so that a service that is already up does not wait for an interval.
FIRST_CHECK_WITHIN_S: Final = 0.5
# While a service starts, it is checked at least this often.
WAITING_CHECK_EVERY_S: Final = 1.0

_log = structlog.get_logger(component="agent.checks")


class Checker(abc.ABC):
    """The results of one check. `changed` is called with each new status, `seen` with every outcome."""

    def __init__(
        self,
        service: str,
        spec: CheckSpec,
        *,
        changed: Callable[[], None],
        seen: Callable[[CheckOutcome], None],
    ) -> None:
        self.spec = spec
        self.service = service
        self._changed = changed
        self._seen = seen
        self._verdict = UNKNOWN
        self._damper = Damper()
        self.status: Status | None = None  # the effective status: the verdict, or critical while held for flapping
        self.last: CheckOutcome | None = None
        self.flaps = 0  # times that a hold began

    @abc.abstractmethod
    async def run(self) -> None:
        """Check until cancelled."""

    @property
    def held_s(self) -> float:
        """How much longer it is held critical for flapping. Seconds."""
        return max(0.0, self._damper.held_until - asyncio.get_running_loop().time())

    @property
    def because(self) -> str:
        """Why it is not passing, in a few words; empty if it is."""
        if self.held_s:
            return f"flapping: held critical for another {self.held_s:.0f} s"
        return described(self.last) if self.last is not None else "no result yet"

    @property
    def shown_last(self) -> str:
        """The last outcome, for `GET /self`."""
        match self.last:
            case None:
                return "none yet"
            case CheckResult(status=status, because=""):
                return status.value
            case outcome:
                return described(outcome)

    def _take(self, result: CheckOutcome, *, rise: int, fall: int) -> None:
        now = asyncio.get_running_loop().time()
        self.last = result
        self._seen(result)
        if isinstance(result, NotChecked):
            return  # the verdict stays: nothing is known against it
        before = self._verdict
        self._verdict = after_result(before, result.status, rise=rise, fall=fall)
        damper = after_verdict(self._damper, before.status, self._verdict.status, now, self.spec.pace.flaps)
        if damper.holds(now) and not self._damper.holds(now):
            self.flaps += 1
            _log.warning("check_flaps", service=self.service, check=self.spec.name, held_s=self.spec.pace.flaps.hold_s)
        self._damper = damper
        self._settle(now)

    def _settle(self, now: float) -> None:
        status = Status.CRITICAL if self._damper.holds(now) else self._verdict.status
        if status is not None and status is not self.status:
            self.status = status
            self._changed()


class ProbingChecker(Checker):
    """A check that probes the service."""

    def __init__(
        self,
        service: str,
        spec: CheckSpec,
        probe: Probe,
        *,
        changed: Callable[[], None],
        seen: Callable[[CheckOutcome], None],
        random: Random,
    ) -> None:
        super().__init__(service, spec, changed=changed, seen=seen)
        self._probe = probe
        self._random = random
        self._was_well = False

    async def run(self) -> None:
        """Check until cancelled."""
        pace = self.spec.pace
        # The first result is due within one interval, even if it takes the whole timeout.
        spread_s = min(FIRST_CHECK_WITHIN_S, max(0.0, pace.interval_s - pace.timeout_s))
        await asyncio.sleep(pace.initial_delay_s + self._random.random() * spread_s)
        loop = asyncio.get_running_loop()
        while True:
            began, before = loop.time(), self._verdict
            try:
                await self.check()
            except Exception:  # noqa: BLE001 - the top of the loop: one odd check must not end the checks
                _log.exception("check_failed", service=self.service, check=self.spec.name)
            # Measured from start to start, so that slow answers do not delay the detection of a failure.
            await asyncio.sleep(max(0.0, self._period_s(before) - (loop.time() - began)))

    async def check(self) -> None:
        """Check once."""
        try:
            result = await self._probe()
        except MemoryError as error:
            result = after_error(error)
        self._was_well |= isinstance(result, CheckResult) and result.status is not Status.CRITICAL
        self._take(result, rise=self.spec.pace.rise, fall=self.spec.pace.fall)

    def _period_s(self, before: CheckVerdict) -> float:
        pace, draw = self.spec.pace, self._random.random()
        if not self._was_well:
            return min(pace.interval_s, WAITING_CHECK_EVERY_S)
        if before.status is None:
            # Services that became healthy together are checked at different times from then on.
            return pace.interval_s * draw
        return pace.interval_s * (1.0 + pace.jitter * (2.0 * draw - 1.0))


class ReportedChecker(Checker):
    """A ttl check: the service reports by itself, at least once per `ttl_s`."""

    def __init__(
        self,
        service: str,
        spec: CheckSpec,
        how: TtlCheck,
        *,
        changed: Callable[[], None],
        seen: Callable[[CheckOutcome], None],
    ) -> None:
        super().__init__(service, spec, changed=changed, seen=seen)
        self._ttl_s = how.ttl_s
        self._reported = asyncio.Event()

    def report(self, status: Status, output: str) -> None:
        """Apply a report of the service; it takes effect at once."""
        self._take(CheckResult(status, shown(output)), rise=1, fall=1)
        self._reported.set()

    async def run(self) -> None:
        """Wait for reports until cancelled."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.spec.pace.initial_delay_s + self._ttl_s
        while True:
            wake_at = until
            if self._damper.holds(loop.time()):
                wake_at = min(until, self._damper.held_until)
            try:
                async with asyncio.timeout_at(wake_at):
                    await self._reported.wait()
            except TimeoutError:
                self._settle(loop.time())
                if loop.time() - wake_at > STOOD_STILL_S:
                    # Reports of that time are still unread, and their senders may have given up.
                    until = loop.time() + self._ttl_s
                elif loop.time() >= until:
                    self._take(critical(f"no report within {self._ttl_s:g} s"), rise=1, fall=1)
                    until = loop.time() + self._ttl_s
            else:
                self._reported.clear()
                until = loop.time() + self._ttl_s


def described(outcome: CheckOutcome) -> str:
    """Return why a check is not passing, in a few words; empty if it is."""
    return f"not checked: {outcome.because}" if isinstance(outcome, NotChecked) else outcome.because
