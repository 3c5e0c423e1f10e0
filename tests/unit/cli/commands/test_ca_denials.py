"""`vertice ca deny`, `allow` and `denied`: what they send, and what they make of odd answers."""

from __future__ import annotations

import argparse
import http.client
import json
from typing import Any

import pytest

from cli import registry_request
from cli.client import HttpResponse
from cli.commands import ca_allow, ca_denied, ca_deny

SAID = {
    "version": "v",
    "denied": [{"subject": "serial:\x1b[31mff", "at": "", "until": "2027-01-01T00:00:00+00:00", "reason": "lost"}],
    "unread": ["two: it is away"],
}


def answering(monkeypatch: pytest.MonkeyPatch, status: int, body: Any) -> list[tuple[Any, ...]]:
    """Let every request have this answer; return the requests."""
    sent: list[tuple[Any, ...]] = []
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def ask(method: str, _url: str, path: str, _headers: object, *, body: bytes | None, signer: object) -> HttpResponse:
        assert signer is not None
        sent.append((method, path, None if body is None else json.loads(body)))
        return HttpResponse(status, http.client.HTTPMessage(), raw)

    monkeypatch.setattr(registry_request, "ask", ask)
    return sent


def arguments(**more: Any) -> argparse.Namespace:
    return argparse.Namespace(
        **{"output": "text", "registry": "http://far", "service": None, "serial": None, "reason": None, **more}
    )


def test_a_service_or_a_serial_number_is_denied_and_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = answering(monkeypatch, 200, SAID)
    assert ca_deny.run(arguments(service="billing", reason="lost")) == 0
    assert ca_deny.run(arguments(serial="FF")) == 0
    assert ca_allow.run(arguments(service="billing")) == 0
    assert ca_denied.run(arguments()) == 0
    assert sent == [
        ("POST", "/certificates/denied", {"service_name": "billing", "reason": "lost"}),
        ("POST", "/certificates/denied", {"serial": "FF", "reason": ""}),
        ("POST", "/certificates/denied", {"service_name": "billing", "withdraw": True}),
        ("GET", "/certificates/denied", None),
    ]


def test_what_is_listed_can_do_nothing_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, 200, SAID)
    assert ca_denied.run(arguments()) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert said.splitlines()[-1] == "not read lately: two: it is away"
    answering(monkeypatch, 200, {"denied": [], "unread": []})
    assert ca_denied.run(arguments()) == 0
    assert capsys.readouterr().out == "nothing is denied\n"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b'["a", "b"]', "vertice: http://far answers, but is not a registry"),
        (200, b"<html>", "vertice: the answer is not JSON: is this the address of an agent or a registry?"),
        (404, b"not here", "vertice: not here"),
        (403, b'{"message": "no right"}', "vertice: no right"),
    ],
)
def test_an_unexpected_answer_is_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int, body: bytes, said: str
) -> None:
    answering(monkeypatch, status, body)
    assert ca_denied.run(arguments()) == 1
    assert capsys.readouterr() == ("", said + "\n")
