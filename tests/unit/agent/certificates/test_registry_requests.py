"""What answers about certificates mean: none that cannot be read is taken for "there is none"."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from agent.certificates.registry_requests import UNREADABLE, CertificateRequests
from agent.registration.decisions import RequestOutcome
from agent.registries.client import RegistryClient, RegistryReply
from registry_core.api.certificate_schemas import DenialView, DeniedView


class Answering:
    """A client that answers every request in one way."""

    def __init__(self, reply: RegistryReply) -> None:
        self.reply = reply

    async def request(self, _method: str, _path: str, _body: bytes | None = None) -> RegistryReply:
        return self.reply


def asking(outcome: RequestOutcome, body: bytes = b"", said: str = "") -> CertificateRequests:
    return CertificateRequests(cast("RegistryClient", Answering(RegistryReply(outcome, said, body))))


async def test_a_refusal_says_why() -> None:
    reply = await asking(RequestOutcome.REFUSED, said="Forbidden: no").certificate("billing", "")
    assert reply == (None, "Forbidden: no")


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"denied": 1}'])
async def test_an_answer_that_cannot_be_read_says_nothing(body: bytes) -> None:
    asked = asking(RequestOutcome.DONE, body)
    assert await asked.certificate("billing", "") == (None, UNREADABLE)
    assert await asked.authority() is None
    assert await asked.is_denied(1) is None


async def test_a_registry_that_is_away_denies_nothing() -> None:
    assert await asking(RequestOutcome.UNAVAILABLE).is_denied(1) is None
    assert await asking(RequestOutcome.UNKNOWN).authority() is None


async def test_an_entry_denies_and_an_empty_list_does_not() -> None:
    entry = DenialView(subject="serial:1", at="", until="", reason="")
    for denied in ([entry], []):
        body = msgspec.json.encode(DeniedView(version="v", denied=denied, unread=[]))
        assert await asking(RequestOutcome.DONE, body).is_denied(1) is bool(denied)
