"""What of a session is worth a line in the log: changes, and each refusal once. It changes nothing else."""

from __future__ import annotations

import structlog

from agent.registration.decisions import Outcome, Sight
from agent.registration.member import Kept
from agent.registries.client import Reply
from registry_core.domain.records import Status

_log = structlog.get_logger(component="agent.session")


class SessionLog:
    """Writes the lines of one session, and keeps each service's `problem`."""

    def __init__(self) -> None:
        self._unavailable = False

    def of_request(self, kept: Kept, reply: Reply, *, registered_as: Status | None) -> None:
        """Say what a request for one service came to; `registered_as` for one that was to register it."""
        claim = kept.claim
        who = {"service": claim.service_name, "instance": claim.instance_id}
        match reply.outcome:
            case Outcome.DONE:
                if registered_as is not None:
                    _log.info("registered", **who, status=registered_as)
                kept.problem = ""
            case Outcome.FENCED:
                self.fenced(kept, reply.said)
            case Outcome.REFUSED | Outcome.UNKNOWN:
                if reply.said != kept.problem:  # each refusal is said once, as the registry said it
                    kept.problem = reply.said
                    _log.error("refused", **who, because=reply.said)
            case Outcome.UNAVAILABLE | Outcome.LATE:
                kept.problem = reply.said
        self.of_registry(reply)

    def of_registry(self, reply: Reply) -> None:
        """Say when no registry can be written to any more, and when one can again."""
        away = reply.outcome is Outcome.UNAVAILABLE
        if away and not self._unavailable:
            _log.warning("registry_unavailable", because=reply.said)
        elif self._unavailable and reply.outcome is Outcome.DONE:
            _log.info("registry_available")
        self._unavailable = away

    def contradicted(self, kept: Kept, sight: Sight) -> None:
        """Say that the registry shows a service otherwise than it was told, which is told again."""
        claim, times = kept.claim, kept.member.contradiction.times
        _log.warning(
            "told_again", service=claim.service_name, instance=claim.instance_id, differs=sight, times_in_a_row=times
        )

    def fenced(self, kept: Kept, said: str) -> None:
        """Say that a newer owner has a service, once and not with each try."""
        if kept.known or said != kept.problem:
            _log.error("fenced", service=kept.claim.service_name, instance=kept.claim.instance_id, because=said)
        kept.problem = said
        kept.known = False  # it is the newer owner's, to be taken out by nobody else
