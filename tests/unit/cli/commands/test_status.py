"""What `vertice status` prints, and its exit codes."""

from __future__ import annotations

import argparse
import http.client
import json
from typing import Any

import pytest

from cli.client import HttpResponse
from cli.commands import status

SERVICE = {
    "service_name": "billing",
    "instance_id": "10.0.0.7:8034",
    "held": None,
    "status": "passing",
    "phase": "registered",
    "problem": "",
}
ABOUT = {
    "uptime_seconds": 7300.0,
    "sync": {"registry": "http://a:1", "connected": True},
    "view": {"services": 2, "instances": 1, "freshness": "fresh", "age_seconds": 0.0},
    "services": [SERVICE],
}


def run(monkeypatch: pytest.MonkeyPatch, health: Any, about: Any = None, code: int = 200, output: str = "text") -> int:
    bodies = {"/health": (code, health), "/self": (200, ABOUT if about is None else about)}

    def get(_url: str, path: str) -> HttpResponse:
        status_code, body = bodies[path]
        return HttpResponse(status_code, http.client.HTTPMessage(), json.dumps(body).encode())

    monkeypatch.setattr(status, "get", get)
    return status.run(argparse.Namespace(agent="near:1", output=output))


def test_a_healthy_agent_is_a_few_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, {"status": "healthy", "reasons": []}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "agent     http://near:1: healthy, up 2 h",
        "registry  http://a:1: connected",
        "view      2 services, 1 instance, fresh",
        "services  1 service of this agent:",
        "  SERVICE  INSTANCE       STATUS   REGISTRATION  PROBLEM",
        "  billing  10.0.0.7:8034  passing  registered    -",
    ]


def test_what_is_wrong_is_named_and_a_degraded_agent_still_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    view = {**ABOUT["view"], "freshness": "stale", "age_seconds": 400.0}  # type: ignore[dict-item]  # it is a dictionary
    about = {
        **ABOUT,
        "view": view,
        "sync": {"registry": "", "connected": False},
        "services": [{**SERVICE, "held": "maintenance", "problem": "the token is wrong"}],
    }
    assert run(monkeypatch, {"status": "degraded", "reasons": ["the watch is\x1b[2J lost"]}, about) == 0
    shown = capsys.readouterr().out
    assert "the watch is\\x1b[2J lost" in shown
    assert "registry  none: not connected" in shown
    assert "stale, confirmed 7 m ago" in shown
    assert "maintenance  registered    the token is wrong" in shown


def test_an_unhealthy_agent_is_a_failure_with_its_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, {"status": "unhealthy"}, code=503, output="json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["health"]["status"], said["self"]["uptime_seconds"]) == ("unhealthy", 7300.0)


@pytest.mark.parametrize(("health", "code"), [([], 200), ({"status": "healthy"}, 404), ({}, 200)])
def test_another_server_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], health: Any, code: int
) -> None:
    assert run(monkeypatch, health, code=code) == 1
    assert capsys.readouterr() == ("", "vertice: http://near:1 answers, but is not an agent\n")
