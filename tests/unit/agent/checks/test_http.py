"""The request of an HTTP check, and searches of its answer."""

from __future__ import annotations

from typing import Any

import pytest

from agent.checks.http import request_head
from agent.checks.spec import HttpCheck, Tls
from tests.samples import claim


def head(host: str = "10.0.0.7", port: int = 8034, **how: Any) -> list[str]:
    """Return the lines of a request, without the two empty ones at its end."""
    lines = request_head(claim(host=host, port=port), HttpCheck(**how)).decode().split("\r\n")
    assert lines[-2:] == ["", ""]
    return lines[:-2]


def test_a_request_is_as_small_as_it_can_be() -> None:
    assert head() == [
        "GET /health HTTP/1.1",
        "Host: 10.0.0.7:8034",
        "User-Agent: vertice-agent",
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: close",
    ]


@pytest.mark.parametrize(
    ("host", "port", "tls", "named"),
    [
        ("10.0.0.7", 80, None, "10.0.0.7"),
        ("10.0.0.7", 443, Tls(), "10.0.0.7"),
        ("10.0.0.7", 443, None, "10.0.0.7:443"),
        ("2001:db8::7", 80, None, "[2001:db8::7]"),
        ("2001:db8::7", 8080, None, "[2001:db8::7]:8080"),
    ],
)
def test_the_host_is_named_without_a_default_port(host: str, port: int, tls: Tls | None, named: str) -> None:
    assert f"Host: {named}" in head(host, port, tls=tls)


def test_configured_headers_replace_ours_whatever_their_case() -> None:
    lines = head(headers=(("host", "billing.example"), ("USER-AGENT", "probe"), ("X-Check", "1")))
    assert [line for line in lines if line.lower().startswith(("host", "user-agent"))] == [
        "host: billing.example",
        "USER-AGENT: probe",
    ]
    assert "X-Check: 1" in lines


def test_a_post_has_no_body_and_says_so() -> None:
    lines = head(method="POST", path="/healthz?deep=1")
    assert lines[0] == "POST /healthz?deep=1 HTTP/1.1"
    assert "Content-Length: 0" in lines
