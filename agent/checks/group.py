"""Runs all checks of one service concurrently; the worst result is the service's status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from agent.checks.checker import Checker, ProbingChecker, ReportedChecker
from agent.checks.result import CheckOutcome, Probe
from agent.checks.spec import CheckKind, CheckSpec, TtlCheck
from agent.checks.verdict import worst
from registry_core.domain.records import Status
from registry_core.domain.selection import Random
from registry_core.errors import NotFound, ValidationError


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """One check as `GET /self` shows it."""

    name: str
    kind: CheckKind
    status: Status | None  # None: no result yet
    last: str
    flaps: int
    held_seconds: float


class ServiceChecks:
    """The checks of one service, at least one. `changed` is called with each new status, and the reason."""

    def __init__(
        self,
        service: str,
        specs: Iterable[CheckSpec],
        probe_for: Callable[[CheckSpec], Probe | None],
        *,
        changed: Callable[[Status, str], None],
        seen: Callable[[CheckKind, CheckOutcome], None],
        random: Random,
    ) -> None:
        self._service = service
        self._changed = changed
        self.status: Status | None = None
        self.checkers: list[Checker] = []
        for spec in specs:

            def seen_of_kind(result: CheckOutcome, kind: CheckKind = spec.kind) -> None:
                seen(kind, result)

            if isinstance(spec.how, TtlCheck):
                self.checkers.append(
                    ReportedChecker(service, spec, spec.how, changed=self._after_change, seen=seen_of_kind)
                )
            elif (probe := probe_for(spec)) is not None:
                self.checkers.append(
                    ProbingChecker(service, spec, probe, changed=self._after_change, seen=seen_of_kind, random=random)
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
        """Return the state of each check."""
        return [
            CheckReport(
                name=c.spec.name,
                kind=c.spec.kind,
                status=c.status,
                last=c.shown_last,
                flaps=c.flaps,
                held_seconds=round(c.held_s, 1),
            )
            for c in self.checkers
        ]

    def _after_change(self) -> None:
        status = worst(c.status for c in self.checkers)
        if status is None or status is self.status:
            return
        self.status = status
        told = [f"{c.spec.name}: {c.because}" for c in self.checkers if c.status is status and c.because]
        self._changed(status, "; ".join(told))
