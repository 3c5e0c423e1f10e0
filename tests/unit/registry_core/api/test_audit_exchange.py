"""How a log asks for countersignatures: it learns from each answer what to prove next."""

from __future__ import annotations

import base64
from typing import cast

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry_core.api.audit_exchange import AuditExchange
from registry_core.api.audit_schemas import AuditHeadBody, CountersignedView
from registry_core.api.peers import Peers
from registry_core.api.schemas import Problem
from registry_core.security.audit.heads import SignedHead, signed_head
from registry_core.security.audit.notes import NoteSigner
from registry_core.security.audit.service import AuditService

SIGNER = NoteSigner("vertice-audit/a", Ed25519PrivateKey.generate())
SIGNED = CountersignedView(status="countersigned", signature="line", key="key", size=9)


class FakeService:
    """A log of nine lines."""

    def __init__(self) -> None:
        self.head = signed_head(SIGNER, 9, bytes(32))
        self.opened = self
        self.signer = SIGNER
        self.signatures: list[tuple[str, str]] = []
        self.refusals: list[tuple[str, str]] = []

    async def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        return (bytes([first, second] * 16),)

    async def countersigned_by(self, head: SignedHead, signatures: list[tuple[str, str]]) -> None:
        assert head == self.head
        self.signatures += signatures

    def refused_by(self, replica: str, because: str) -> None:
        self.refusals.append((replica, because))


class FakePeers:
    """One replica that gives these answers, one after the other."""

    urls = ("http://b",)

    def __init__(self, *answers: tuple[int, object]) -> None:
        self.asked: list[AuditHeadBody] = []
        self._answers = list(answers)

    async def ask(self, method: str, url: str, path: str, data: bytes) -> tuple[int, bytes]:
        assert (method, url, path) == ("POST", "http://b", "/audit/head")
        self.asked.append(msgspec.json.decode(data, type=AuditHeadBody))
        status, body = self._answers.pop(0)
        return status, msgspec.json.encode(body)


async def exchanged(*answers: tuple[int, object], times: int = 1) -> tuple[FakeService, FakePeers]:
    service, peers = FakeService(), FakePeers(*answers)
    exchange = AuditExchange(cast(AuditService, service), cast(Peers, peers))
    for _ in range(times):
        await exchange.exchange()
    return service, peers


async def test_a_head_is_offered_once_while_it_stays_the_same() -> None:
    service, peers = await exchanged((200, SIGNED), times=3)
    assert service.signatures == [("line", "key")]
    assert service.refusals == [("http://b", "")]
    (body,) = peers.asked
    assert (body.old_size, body.hashes, body.key) == (0, [], str(SIGNER.verifier))


async def test_the_size_that_the_witness_names_is_what_is_proven_next() -> None:
    service, peers = await exchanged((200, CountersignedView(status="proof-needed", size=4)), (200, SIGNED))
    assert service.signatures == [("line", "key")]
    assert peers.asked[1].old_size == 4
    assert peers.asked[1].hashes == [base64.b64encode(bytes([4, 9] * 16)).decode()]


async def test_a_witness_that_has_signed_more_than_there_is_means_that_the_log_went_back() -> None:
    service, _ = await exchanged((200, CountersignedView(status="proof-needed", size=12)))
    assert service.refusals == [("http://b", "it has signed 12 lines, and there are 9")]


async def test_a_refusal_is_kept_with_its_reason_and_asked_again() -> None:
    conflict = Problem(error="Conflict", message="there are two different logs of 9 lines")
    service, peers = await exchanged((409, conflict), (409, conflict), times=2)
    assert service.refusals == [("http://b", "there are two different logs of 9 lines")] * 2
    assert len(peers.asked) == 2


@pytest.mark.parametrize(
    "answer", [(0, ""), (404, Problem(error="NotFound", message="no audit")), (200, ["another server"])]
)
async def test_a_replica_that_is_away_or_keeps_no_audit_changes_nothing(answer: tuple[int, object]) -> None:
    service, _ = await exchanged(answer)
    assert (service.signatures, service.refusals) == ([], [])


async def test_this_replica_itself_is_not_asked_again() -> None:
    service, peers = await exchanged((200, CountersignedView(status="own")), times=2)
    assert service.signatures == []
    assert len(peers.asked) == 1
