"""`vertice guard` when something other than a registry answers."""

from __future__ import annotations

import argparse
import http.client
import json

import pytest

from cli import registry_request
from cli.client import HttpResponse
from cli.commands import guard, guard_status


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b'["a", "b"]', "vertice: http://far answers, but is not a registry"),
        (200, b'{"shards": [1]}', "vertice: http://far answers, but is not a registry"),
        (200, b"<html>", "vertice: the answer is not JSON: is this the address of an agent or a registry?"),
        (404, b"not here", "vertice: not here"),
        (503, b'{"message": "the store is not running"}', "vertice: the store is not running"),
    ],
)
def test_an_unexpected_answer_is_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    body: bytes,
    said: str,
) -> None:
    monkeypatch.setattr(
        registry_request, "ask", lambda *_, **_more: HttpResponse(status, http.client.HTTPMessage(), body)
    )
    arguments = argparse.Namespace(output="text", registry="http://far")
    assert guard_status.run(arguments, {}) == 1
    assert capsys.readouterr() == ("", said + "\n")


@pytest.mark.parametrize(("released", "said"), [(["a", "b"], "released: a, b"), ([], "nothing; no guard was holding")])
def test_what_was_released_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], released: list[str], said: str
) -> None:
    body = json.dumps({"released": released, "guard": {"shards": []}}).encode()
    monkeypatch.setattr(registry_request, "ask", lambda *_, **_more: HttpResponse(200, http.client.HTTPMessage(), body))
    arguments = argparse.Namespace(output="text", registry="http://far")
    assert guard.tell("POST", "/guard/release", arguments, {}) == 0
    assert said in capsys.readouterr().out
