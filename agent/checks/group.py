"""Runs all checks of one service concurrently: the worst result at an address counts, and the best address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from agent.checks.checker import Checker, Locate, ProbingChecker, ReportedChecker
from agent.checks.counts import CheckCounts
from agent.checks.result import CheckOutcome, NotChecked, ProbeAt
from agent.checks.spec import CheckKind, CheckSpec, TtlCheck
from agent.checks.state import EVERYWHERE, NEW
from agent.checks.verdict import best, worst
from registry_core.domain.records import Status
from registry_core.domain.selection import Random
from registry_core.errors import NotFound, ValidationError


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """One check at one address as `GET /self` shows it."""

    name: str
    kind: CheckKind
    address: str = ""  # empty: the check connects to none, or none is known
    status: Status | None  # None: no result yet
    last: str
    flaps: int
    held_seconds: float
    not_checked: str = ""  # why the last check could not be made: the agent's own trouble


class ServiceChecks:
    """The checks of one service, at least one.

    `changed` is called with each new status and the reason, and `moved` when other addresses pass than before.
    """

    def __init__(
        self,
        service: str,
        specs: Iterable[CheckSpec],
        probe_for: Callable[[CheckSpec], ProbeAt | None],
        *,
        locate: Locate,
        changed: Callable[[Status, str], None],
        moved: Callable[[], None] = lambda: None,
        seen: Callable[[CheckKind, CheckOutcome], None],
        random: Random,
        counts: CheckCounts | None = None,
    ) -> None:
        self._service = service
        self._changed = changed
        self._moved = moved
        self.status: Status | None = None
        self.passing: frozenset[str] = frozenset()  # the addresses at which no check is critical
        self.checkers: list[Checker] = []
        for spec in specs:

            def seen_of_kind(result: CheckOutcome, kind: CheckKind = spec.kind) -> None:
                seen(kind, result)

            if isinstance(spec.how, TtlCheck):
                self.checkers.append(
                    ReportedChecker(
                        service, spec, spec.how, changed=self._after_change, seen=seen_of_kind, counts=counts
                    )
                )
            elif (probe_at := probe_for(spec)) is not None:
                self.checkers.append(
                    ProbingChecker(
                        service,
                        spec,
                        probe_at,
                        locate=locate,
                        changed=self._after_change,
                        seen=seen_of_kind,
                        random=random,
                        counts=counts,
                    )
                )

    async def run(self) -> None:
        """Check until cancelled."""
        async with asyncio.TaskGroup() as group:
            for checker in self.checkers:
                group.create_task(checker.run())

    def take(self, status: Status, output: str, name: str = "") -> None:
        """Apply the service's report for its ttl check `name`, which may be empty if there is only one.

        Raises NotFound when there is no such check, and ValidationError when `name` is empty and there are several.
        """
        reported = {c.spec.name: c for c in self.checkers if isinstance(c, ReportedChecker)}
        if not reported:
            raise NotFound(f"{self._service} has no ttl check to report to")
        if not name and len(reported) > 1:
            raise ValidationError(
                f"{self._service} has several ttl checks: {', '.join(reported)}",
                field="check",
                example=next(iter(reported)),
            )
        checker = reported.get(name) if name else next(iter(reported.values()))
        if checker is None:
            raise NotFound(
                f"{self._service} has no ttl check of that name, only {', '.join(reported)}",
                field="check",
                provided=name[:100],
                example=next(iter(reported)),
            )
        checker.report(status, output)

    def report(self) -> list[CheckReport]:
        """Return the state of each check at each address."""
        now = asyncio.get_running_loop().time()
        return [
            CheckReport(
                name=c.spec.name,
                kind=c.spec.kind,
                address=address,
                status=state.status,
                last=state.shown_last,
                flaps=state.flaps,
                held_seconds=round(state.held_s(now), 1),
                not_checked=state.last.because if isinstance(state.last, NotChecked) else "",
            )
            for c in self.checkers
            for address, state in (c.states or {EVERYWHERE: NEW}).items()
        ]

    def _after_change(self) -> None:
        checked = dict.fromkeys(address for c in self.checkers for address in c.states if address != EVERYWHERE)
        addresses = tuple(checked) or (EVERYWHERE,)
        statuses = {address: worst(c.status_at(address) for c in self.checkers) for address in addresses}
        before = self.passing
        self.passing = frozenset(
            address for address in checked if statuses[address] in (Status.PASSING, Status.WARNING)
        )
        status = best(statuses.values())
        if status is not None and status is not self.status:
            self.status = status
            self._changed(status, self._because(status, several=len(checked) > 1))
        if self.passing != before:
            self._moved()

    def _because(self, status: Status, *, several: bool) -> str:
        now = asyncio.get_running_loop().time()
        reasons = [
            (f"{c.spec.name} at {address}" if several and address else c.spec.name, state.because(now))
            for c in self.checkers
            for address, state in c.states.items()
            if state.status is status
        ]
        return "; ".join(f"{where}: {because}" for where, because in reasons if because)
