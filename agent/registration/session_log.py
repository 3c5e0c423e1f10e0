"""Logs the events of a session: changes, and each refusal once. It changes nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import structlog

from agent.registration.decisions import Phase, Register, RequestOutcome, Sight, TellStatus
from agent.registration.member import Member
from agent.registries.client import RegistryReply
from registry_core.domain.records import Status
from registry_core.supervision import Work
from registry_core.telemetry.spans import traced

_log = structlog.get_logger(component="agent.session")


def traced_as(step: Register | TellStatus) -> Callable[[Work], Work]:
    """Return what makes a request an operation of its own in logs and traces."""
    return traced("agent.register" if isinstance(step, Register) else "agent.set_status")


class SessionLog:
    """Writes the log lines of one session, and sets each service's `problem`."""

    def __init__(self) -> None:
        self._unavailable = False

    def of_request(self, member: Member, reply: RegistryReply, *, registered_as: Status | None) -> None:
        """Log the outcome of a request for one service; `registered_as` is the status of a registration."""
        claim = member.claim
        who = {"service": claim.service_name, "instance": claim.instance_id}
        match reply.outcome:
            case RequestOutcome.DONE:
                if registered_as is not None:
                    _log.info("registered", **who, status=registered_as)
                member.problem, member.refused = "", False
            case RequestOutcome.FENCED:
                self.fenced(member, reply.said)
            case RequestOutcome.REFUSED | RequestOutcome.UNKNOWN:
                if reply.said != member.problem:  # each refusal is logged once, in the registry's words
                    member.problem = reply.said
                    _log.error("refused", **who, because=reply.said, holder=_where(member))
                member.refused = True
            case RequestOutcome.UNAVAILABLE | RequestOutcome.LATE | RequestOutcome.LIMITED:
                member.problem, member.refused = reply.said, False
        self.of_registry(reply)

    def of_beats(self, replies: Iterable[tuple[Member, RegistryReply]]) -> None:
        """Log once when heartbeats are refused, with the number of their services, and once when that is over."""
        refused: Counter[str] = Counter()
        accepted = 0
        for member, reply in replies:
            if reply.outcome is RequestOutcome.REFUSED:
                refused[reply.said] += not member.refused or reply.said != member.problem
                member.problem, member.refused = reply.said, True
            elif reply.outcome is RequestOutcome.DONE and member.refused and member.state.phase is Phase.REGISTERED:
                accepted += 1
                member.problem, member.refused = "", False
        for said, services in refused.items():
            if services:
                _log.error("heartbeats_refused", services=services, because=said)
        if accepted:
            _log.info("heartbeats_accepted", services=accepted)

    def of_registry(self, reply: RegistryReply) -> None:
        """Log when no registry accepts writes any more, and when one does again."""
        away = reply.outcome is RequestOutcome.UNAVAILABLE
        if away and not self._unavailable:
            _log.warning("registry_unavailable", because=reply.said)
        elif self._unavailable and reply.outcome is RequestOutcome.DONE:
            _log.info("registry_available")
        self._unavailable = away

    def contradicted(self, member: Member, sight: Sight) -> None:
        """Log that the registry shows a service differently from what it confirmed, and that it is sent again."""
        claim, times = member.claim, member.state.contradiction.times
        _log.warning(
            "told_again", service=claim.service_name, instance=claim.instance_id, differs=sight, times_in_a_row=times
        )

    def fenced(self, member: Member, said: str) -> None:
        """Log once, not with each try, that a service has a newer owner."""
        if member.known or said != member.problem:
            claim = member.claim
            _log.error(
                "fenced",
                service=claim.service_name,
                instance=claim.instance_id,
                address=claim.address,
                because=said,
                holder=_where(member),
            )
        member.problem, member.refused = said, False
        member.known = False  # the newer owner alone may deregister it


def _where(member: Member) -> str | None:
    """Return the address of the instance that a service was refused for; None when that is not known."""
    return None if member.rival is None else str(member.rival)
