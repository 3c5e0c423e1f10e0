"""The notes on how requests ended: what the audit gets to see."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from registry_core.api.auth import CALLER, Caller
from registry_core.api.endpoints import ENDPOINTS, Endpoint
from registry_core.api.refusal_log import RefusalLog
from registry_core.api.request_notes import MAX_REASON, RequestNotes
from registry_core.api.view import ReplicaView
from registry_core.api.write_access import WriteAccess
from registry_core.errors import Forbidden, NotFound, TooManyRequests, Unauthorized, VerticeError
from registry_core.ports.audit import AuditEntry, NoAudit
from registry_core.ports.clock import SystemClock
from registry_core.security.identities import Identity, Proof, Role


class Kept(NoAudit):
    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def wants(self, operation: str, status: int) -> bool:  # noqa: ARG002 - it keeps all
        return True

    def note(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


def endpoint(name: str) -> Endpoint:
    return next(one for one in ENDPOINTS if one.name == name)


def request(caller: Caller | None = None) -> web.Request:
    made = make_mocked_request("GET", "/")
    if caller is not None:
        made[CALLER] = caller
    return made


def notes() -> tuple[RequestNotes, Kept]:
    kept, clock = Kept(), SystemClock()
    access = WriteAccess(ReplicaView(clock, ttl_s=60.0, warming_s=0.0, store_age_s=lambda: 0.0), clock)
    return RequestNotes(access, RefusalLog(clock), kept, clock), kept


def failed(name: str, error: VerticeError) -> list[AuditEntry]:
    noted, kept = notes()
    noted.failed(request(), endpoint(name), error)
    return kept.entries


def test_a_write_is_audited_with_its_caller() -> None:
    noted, kept = notes()
    caller = Caller(Identity(Role.SERVICE, Proof.SIGNATURE, "ip_intel", "k1"))
    noted.done(request(caller), endpoint("register"), 201)
    (entry,) = kept.entries
    assert (entry.operation, entry.status, entry.result) == ("register", 201, "done")
    assert (entry.who, entry.proof, entry.key_id) == ("service:ip-intel", "signature", "k1")


def test_a_lookup_is_not_audited_unless_it_is_refused_for_its_sender() -> None:
    noted, kept = notes()
    noted.done(request(), endpoint("services"), 200)
    assert kept.entries == []
    assert failed("service", NotFound("no such service")) == []
    for error in (Unauthorized("no key"), Forbidden("no right"), TooManyRequests("slow down", retry_after_s=1.0)):
        (entry,) = failed("services", error)
        assert (entry.result, entry.who, entry.reason) == (type(error).__name__, "anyone", str(error))


def test_a_write_that_failed_is_audited_with_a_reason_of_bounded_length() -> None:
    (entry,) = failed("register", NotFound("x" * 10_000))
    assert entry.status == 404
    assert len(entry.reason) == MAX_REASON
