"""Runs one check periodically at every address of its instance, and tells when a status changes.

It registers nothing.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import msgspec
import structlog

from agent.checks.counts import CheckCounts
from agent.checks.result import (
    STOOD_STILL_S,
    CheckOutcome,
    CheckResult,
    NotChecked,
    Probe,
    ProbeAt,
    after_error,
    critical,
    shown,
)
from agent.checks.spec import CheckPace, CheckSpec, TtlCheck
from agent.checks.state import EVERYWHERE, NEW, CheckState, after_outcome, settled
from registry_core.causes import cause_of
from registry_core.domain.records import Status
from registry_core.domain.selection import Random
from registry_core.resolution import is_no_such_name
from registry_core.shortages import socket_shortage

# The first check comes soon, so that a service that is already up does not wait for an interval.
FIRST_CHECK_WITHIN_S: Final = 0.5
# While a service starts, it is checked at least this often.
WAITING_CHECK_EVERY_S: Final = 1.0

# Gives the addresses to check. Raises OSError when there are none, or none is known.
Locate: TypeAlias = Callable[[], Awaitable[tuple[str, ...]]]

_log = structlog.get_logger(component="agent.checks")


class Checker(abc.ABC):
    """The states of one check by address. `changed` is called after each change of one, `seen` with every outcome."""

    def __init__(
        self,
        service: str,
        spec: CheckSpec,
        *,
        changed: Callable[[], None],
        seen: Callable[[CheckOutcome], None],
        counts: CheckCounts | None = None,
    ) -> None:
        self._counts = counts if counts is not None else CheckCounts()
        self.spec = spec
        self.service = service
        self._changed = changed
        self._seen = seen
        self._pace = spec.pace
        self.states: dict[str, CheckState] = {}

    @abc.abstractmethod
    async def run(self) -> None:
        """Check until cancelled."""

    def status_at(self, address: str) -> Status | None:
        """Return the status at an address; None when it is unknown."""
        return self.states.get(address, self.states.get(EVERYWHERE, NEW)).status

    def _take(self, outcomes: Mapping[str, CheckOutcome | None]) -> None:
        """Apply the outcomes of one round; where there is none, the state stays."""
        now = asyncio.get_running_loop().time()
        after: dict[str, CheckState] = {}
        for address, outcome in outcomes.items():
            before = after[address] = self.states.get(address, NEW)
            if outcome is None:
                continue
            self._seen(outcome)
            after[address] = state = after_outcome(before, outcome, now, self._pace)
            if state.flaps > before.flaps:
                self._counts.flaps += state.flaps - before.flaps
                held_s = self.spec.pace.flaps.hold_s
                where = {"address": address} if address else {}
                _log.warning("check_flaps", service=self.service, check=self.spec.name, held_s=held_s, **where)
        self._become(after)

    def _become(self, after: dict[str, CheckState]) -> None:
        before, self.states = self.states, after
        if {at: state.status for at, state in before.items()} != {at: state.status for at, state in after.items()}:
            self._changed()


class ProbingChecker(Checker):
    """A check that probes the service: at each address that `locate` gives, with what `probe_at` makes for it."""

    def __init__(
        self,
        service: str,
        spec: CheckSpec,
        probe_at: ProbeAt,
        *,
        locate: Locate,
        changed: Callable[[], None],
        seen: Callable[[CheckOutcome], None],
        random: Random,
        counts: CheckCounts | None = None,
    ) -> None:
        super().__init__(service, spec, changed=changed, seen=seen, counts=counts)
        self._probe_at = probe_at
        self._probes: dict[str, Probe] = {}
        self._locate = locate
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
            began, knew = loop.time(), self._knows
            try:
                await self.check()
            except Exception:  # noqa: BLE001 - the top of the loop: one odd check must not end the checks
                _log.exception("check_failed", service=self.service, check=self.spec.name)
            # Measured from start to start, so that slow answers do not delay the detection of a failure.
            await asyncio.sleep(max(0.0, self._period_s(knew=knew) - (loop.time() - began)))

    async def check(self) -> None:
        """Check every address once, all at the same time."""
        addresses: tuple[str, ...] = (EVERYWHERE,)
        if self.spec.connects:
            try:
                addresses = await self._locate()
            except OSError as error:
                self._take(dict.fromkeys(self.states or (EVERYWHERE,), _after_lookup(error)))
                return
        self._probes = {address: self._probes.get(address) or self._probe_at(address) for address in addresses}
        found = await asyncio.gather(*(self._outcome(probe) for probe in self._probes.values()), return_exceptions=True)
        outcomes: dict[str, CheckOutcome | None] = {}
        for address, outcome in zip(self._probes, found, strict=True):
            if isinstance(outcome, BaseException):
                _log.error("check_failed", service=self.service, check=self.spec.name, exc_info=outcome)
            outcomes[address] = None if isinstance(outcome, BaseException) else outcome
        self._was_well |= any(
            isinstance(outcome, CheckResult) and outcome.status is not Status.CRITICAL for outcome in outcomes.values()
        )
        self._take(outcomes)

    async def _outcome(self, probe: Probe) -> CheckOutcome:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            outcome = await probe()
        except MemoryError as error:
            outcome = after_error(error)
        self._counts.took(self.spec.kind, loop.time() - began)
        return outcome

    @property
    def _knows(self) -> bool:
        return any(state.verdict.status is not None for state in self.states.values())

    def _period_s(self, *, knew: bool) -> float:
        pace, draw = self.spec.pace, self._random.random()
        if not self._was_well:
            return min(pace.interval_s, WAITING_CHECK_EVERY_S)
        if not knew:
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
        counts: CheckCounts | None = None,
    ) -> None:
        super().__init__(service, spec, changed=changed, seen=seen, counts=counts)
        self._pace: CheckPace = msgspec.structs.replace(spec.pace, rise=1, fall=1)
        self._ttl_s = how.ttl_s
        self._reported = asyncio.Event()

    def report(self, status: Status, output: str) -> None:
        """Apply a report of the service; it takes effect at once."""
        self._take({EVERYWHERE: CheckResult(status, shown(output))})
        self._reported.set()

    async def run(self) -> None:
        """Wait for reports until cancelled."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.spec.pace.initial_delay_s + self._ttl_s
        while True:
            wake_at = until
            damper = self.states.get(EVERYWHERE, NEW).damper
            if damper.holds(loop.time()):
                wake_at = min(until, damper.held_until)
            try:
                async with asyncio.timeout_at(wake_at):
                    await self._reported.wait()
            except TimeoutError:
                self._become({at: settled(state, loop.time()) for at, state in self.states.items()})
                if loop.time() - wake_at > STOOD_STILL_S:
                    # Reports of that time are still unread, and their senders may have given up.
                    until = loop.time() + self._ttl_s
                elif loop.time() >= until:
                    self._take({EVERYWHERE: critical(f"no report within {self._ttl_s:g} s")})
                    until = loop.time() + self._ttl_s
            else:
                self._reported.clear()
                until = loop.time() + self._ttl_s


def _after_lookup(error: OSError) -> CheckOutcome:
    """Return the outcome of a check whose host name has no address. A silent name server says nothing of it."""
    shortage = socket_shortage()
    if not shortage and is_no_such_name(error):
        return critical(cause_of(error))
    return NotChecked(shown(shortage or cause_of(error)))
