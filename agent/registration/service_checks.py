"""Creates the configured checks of an agent's services, and counts their results."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from agent.checks.counts import CheckCounts
from agent.checks.group import ServiceChecks
from agent.checks.result import CheckOutcome, NotChecked, ProbeAt
from agent.checks.spec import CheckKind, CheckSpec
from agent.hosts.book import HostAddresses
from agent.registration import decisions
from agent.registration.member import Member
from registry_core.domain.records import Registration, Status
from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.telemetry.log_thinning import Thinning

_log = structlog.get_logger(component="agent.session")


class CheckedServices:
    """Makes the checks of one session's services.

    `changed` is called after each new verdict, and `moved` when other addresses of a service pass than before.
    """

    def __init__(
        self,
        random: Random,
        clock: Clock,
        hosts: HostAddresses,
        *,
        changed: Callable[[], None],
        moved: Callable[[Member], None],
    ) -> None:
        self._random = random
        self._clock = clock
        self._hosts = hosts
        self._changed = changed
        self._moved = moved
        self._thinning = Thinning()
        self.counts = CheckCounts()

    def checks(
        self, member: Member, probe_for: Callable[[Registration, CheckSpec], ProbeAt | None]
    ) -> ServiceChecks | None:
        """Return the checks of a service, for the caller to run; None if it has none."""
        if not member.spec.checks:
            return None

        def changed(status: Status, because: str) -> None:
            claim = member.claim
            _log.info(
                "check_changed",
                service=claim.service_name,
                instance=claim.instance_id,
                status=status,
                because=because,
            )
            member.state = decisions.after_check(member.state, status)
            self._changed()

        def seen(kind: CheckKind, outcome: CheckOutcome) -> None:
            self.counts.seen(kind, outcome)
            if isinstance(outcome, NotChecked):
                member.state = decisions.after_unchecked(member.state)
                self._log_unchecked(member, outcome)

        claim = member.claim
        self.counts.expect(member.spec.checks)
        return ServiceChecks(
            claim.service_name,
            member.spec.checks,
            lambda check: probe_for(claim, check),
            locate=partial(self._hosts.located, claim.host),
            changed=changed,
            moved=lambda: self._moved(member),
            seen=seen,
            random=self._random,
            counts=self.counts,
        )

    def _log_unchecked(self, member: Member, outcome: NotChecked) -> None:
        checks = self._thinning.failed(outcome.because, self._clock.monotonic())
        if checks is not None:
            _log.warning("not_checked", because=outcome.because, checks=checks, service=member.claim.service_name)
