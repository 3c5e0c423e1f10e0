"""What of a session is worth a line in the log: changes, and each refusal once. It changes nothing else."""

from __future__ import annotations

import structlog

from agent.registration.decisions import RequestOutcome, Sight
from agent.registration.member import Member
from agent.registries.client import RegistryReply
from registry_core.domain.records import Status

_log = structlog.get_logger(component="agent.session")


class SessionLog:
    """Writes the lines of one session, and keeps each service's `problem`."""

    def __init__(self) -> None:
        self._unavailable = False

    def of_request(self, member: Member, reply: RegistryReply, *, registered_as: Status | None) -> None:
        """Say what a request for one service came to; `registered_as` for one that was to register it."""
        claim = member.claim
        who = {"service": claim.service_name, "instance": claim.instance_id}
        match reply.outcome:
            case RequestOutcome.DONE:
                if registered_as is not None:
                    _log.info("registered", **who, status=registered_as)
                member.problem = ""
            case RequestOutcome.FENCED:
                self.fenced(member, reply.said)
            case RequestOutcome.REFUSED | RequestOutcome.UNKNOWN:
                if reply.said != member.problem:  # each refusal is said once, as the registry said it
                    member.problem = reply.said
                    _log.error("refused", **who, because=reply.said)
            case RequestOutcome.UNAVAILABLE | RequestOutcome.LATE:
                member.problem = reply.said
        self.of_registry(reply)

    def of_registry(self, reply: RegistryReply) -> None:
        """Say when no registry can be written to any more, and when one can again."""
        away = reply.outcome is RequestOutcome.UNAVAILABLE
        if away and not self._unavailable:
            _log.warning("registry_unavailable", because=reply.said)
        elif self._unavailable and reply.outcome is RequestOutcome.DONE:
            _log.info("registry_available")
        self._unavailable = away

    def contradicted(self, member: Member, sight: Sight) -> None:
        """Say that the registry shows a service otherwise than it was told, which is told again."""
        claim, times = member.claim, member.state.contradiction.times
        _log.warning(
            "told_again", service=claim.service_name, instance=claim.instance_id, differs=sight, times_in_a_row=times
        )

    def fenced(self, member: Member, said: str) -> None:
        """Say that a newer owner has a service, once and not with each try."""
        if member.known or said != member.problem:
            _log.error("fenced", service=member.claim.service_name, instance=member.claim.instance_id, because=said)
        member.problem = said
        member.known = False  # it is the newer owner's, to be taken out by nobody else
