"""`vertice guard` when something other than a registry answers."""

from __future__ import annotations

import argparse
import http.client

import pytest

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
    monkeypatch.setattr(guard, "ask", lambda *_, **_more: HttpResponse(status, http.client.HTTPMessage(), body))
    arguments = argparse.Namespace(output="text", registry="http://far")
    assert guard_status.run(arguments, {}) == 1
    assert capsys.readouterr() == ("", said + "\n")
