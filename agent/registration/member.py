"""One service of this agent: its mutable state, and its report."""

from __future__ import annotations

import asyncio

import msgspec

from agent.checks.group import CheckReport, ServiceChecks
from agent.checks.spec import CheckKind
from agent.checks.verdict import SEVERITY
from agent.registration.decisions import NEVER, MemberState, Phase
from agent.registration.published import published
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import Instance, Registration, Status, copied_as
from registry_core.errors import Holder


class ServiceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One service as `GET /self` shows it."""

    service_name: str
    instance_id: str
    endpoint: str
    phase: Phase
    check: str
    status: Status | None
    held: Status | None  # set by an operator, overrides the checks
    registered_status: Status | None
    last_check: str
    checks: list[CheckReport]
    problem: str
    refused: bool  # the registry's latest answer to a registration, status or heartbeat was a refusal
    refused_for: Holder | None  # the instance that has its id or its address; None: no other has


class Member:
    """One service of this agent."""

    def __init__(self, spec: ServiceSpec, claim: Registration, state: MemberState) -> None:
        self.spec = spec
        self.claim = claim
        self.state = state
        self.checks: ServiceChecks | None = None
        self.checking: asyncio.Task[None] | None = None
        self.request: asyncio.Task[None] | None = None  # the latest
        self.registering = False  # the request is a registration that has been sent
        self.known = False  # perhaps to the registry: it must be deregistered at the end
        self.claimed = False  # with its epoch, whatever the outcome
        self.owned = False  # by this agent since it registered
        self.corrected = False  # its epoch was corrected, or confirmed, after a newer owner was reported
        self.problem = ""
        self.located_at: tuple[str, ...] = ()  # the latest addresses of its host
        self.refused = False  # the registry's latest answer refused it
        self._answered: tuple[tuple[object, ...], Instance] | None = None
        self.rival: Holder | None = None  # the instance that it was refused for
        self.registered_at: tuple[str, ...] = ()  # the addresses of the latest registration
        self.republished_at = -NEVER  # when those of its host last changed, monotonic time

    @property
    def published(self) -> tuple[str, ...]:
        """The addresses to register: those of its host that pass its checks."""
        return published(self.located_at, self.checks.passing if self.checks is not None else ())

    def answered(self) -> Instance | None:
        """Return the instance as this agent's own lookups show it; None while it waits for its first good check.

        The same object while nothing changes.
        """
        state, claim = self.state, self.claim
        if state.phase is Phase.WAITING:
            return None
        status = state.held or state.status or Status.CRITICAL
        addresses = claim.addresses or self.registered_at
        basis = (claim, addresses, status)
        if self._answered is None or self._answered[0] != basis:
            record = copied_as(claim, Instance, addresses=addresses, status=status, epoch=claim.epoch or 0)
            self._answered = (basis, record)
        return self._answered[1]

    def report(self) -> ServiceReport:
        """Return the state of the service."""
        checks = self.checks.report() if self.checks is not None else []
        # The worst check, as for the service itself.
        shown = max(checks, key=lambda check: SEVERITY.get(check.status or Status.CRITICAL, 0), default=None)
        return ServiceReport(
            service_name=self.claim.service_name,
            instance_id=self.claim.instance_id,
            endpoint=self.claim.endpoint,
            phase=self.state.phase,
            check=",".join(check.kind.value for check in self.spec.checks) or CheckKind.NONE.value,
            status=self.state.status,
            held=self.state.held,
            registered_status=self.state.told,
            last_check="none yet" if shown is None else shown.last,
            checks=checks,
            problem=self.problem,
            refused=self.refused,
            refused_for=self.rival,
        )

    @property
    def passes(self) -> bool:
        """Whether its check passes at this moment; a service without checks says nothing about that."""
        return bool(self.spec.checks) and self.state.status is Status.PASSING


def is_checked_alike(one: ServiceSpec, other: ServiceSpec) -> bool:
    """Return whether two services have the same checks."""
    return _what_is_checked(one) == _what_is_checked(other)


def _what_is_checked(spec: ServiceSpec) -> tuple[object, ...]:
    claim = spec.claim
    return spec.checks, claim.protocol, claim.host, claim.port
