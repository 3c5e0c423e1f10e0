"""Notes how each request ended: for the audit, for the log of refusals, and for what a replica knows of its writers."""

from __future__ import annotations

from collections import Counter
from typing import Final

from aiohttp import web

from registry_core.api.auth import CALLER
from registry_core.api.calls import detail_of, subject_of
from registry_core.api.clients import client_of
from registry_core.api.endpoints import Endpoint
from registry_core.api.problems import status_of
from registry_core.api.refusal_log import RefusalLog
from registry_core.api.request_limits import REPEATED
from registry_core.api.write_access import WriteAccess
from registry_core.domain.names import MAX_INSTANCE_ID_LENGTH, MAX_LABEL_LENGTH
from registry_core.errors import CallerError, Forbidden, TooManyRequests, Unauthorized, VerticeError
from registry_core.ports.audit import AuditEntry, AuditTrail
from registry_core.ports.clock import Clock
from registry_core.security.identities import ANYONE
from registry_core.security.signature_errors import Replayed
from registry_core.telemetry.logs import trace_id

# A reason is a sentence of ours; what it quotes of a request is short.
MAX_REASON: Final = 300
# Refused for what the caller is or does, not for what it asks: these are audited for lookups as well.
REFUSALS: Final = (Unauthorized, Forbidden, TooManyRequests)


class RequestNotes:
    """The notes of one replica."""

    def __init__(self, access: WriteAccess, refusals: RefusalLog, audit: AuditTrail, clock: Clock) -> None:
        self._access = access
        self._refusals = refusals
        self._audit = audit
        self._clock = clock
        self.refused: Counter[str] = Counter()  # by the name of the error

    def done(self, request: web.Request, endpoint: Endpoint, status: int) -> None:
        """Note a request that was carried out."""
        if not endpoint.writes:
            return
        if endpoint.from_living:
            self._access.accepted()
        if self._audit.wants(endpoint.name, status):
            self._audit.note(self._entry(request, endpoint, status, "done", detail_of(request)))

    def failed(self, request: web.Request, endpoint: Endpoint, error: VerticeError) -> None:
        """Note a request that was refused, or could not be carried out."""
        # A replay says nothing about the owner of the key, who was accepted.
        if endpoint.from_living and not isinstance(error, Replayed):
            if isinstance(error, Unauthorized | Forbidden):
                self._access.refused(error)
            elif isinstance(error, CallerError) and not isinstance(error, TooManyRequests) and CALLER in request:
                self._access.accepted()  # its credential was valid
        if request.get(REPEATED):  # it is counted
            return
        if endpoint.writes:
            service, instance = subject_of(request)
            client = client_of(request)
            self._refusals.note(endpoint.name, error, service=service, instance=instance, client=client)
        if isinstance(error, REFUSALS):
            self.refused[type(error).__name__] += 1
        if endpoint.writes or isinstance(error, REFUSALS):
            status = status_of(error).value
            if self._audit.wants(endpoint.name, status):
                self._audit.note(self._entry(request, endpoint, status, type(error).__name__, str(error)))

    def _entry(self, request: web.Request, endpoint: Endpoint, status: int, result: str, reason: str) -> AuditEntry:
        caller = request.get(CALLER)
        identity = caller.identity if caller is not None else ANYONE
        service, instance = subject_of(request)
        return AuditEntry(
            time=self._clock.wall(),
            operation=endpoint.name,
            status=status,
            result=result,
            service=service[:MAX_LABEL_LENGTH],
            instance=instance[:MAX_INSTANCE_ID_LENGTH],
            who=identity.name,
            proof=str(identity.proof),
            key_id=identity.key_id,
            client=client_of(request),
            reason=reason[:MAX_REASON],
            trace_id=trace_id.get() or "",
        )
