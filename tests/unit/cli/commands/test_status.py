"""What `vertice status` prints, and its exit codes."""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Mapping
from typing import Any

import pytest

from cli.client import HttpResponse, Unreachable
from cli.commands import status
from cli.status import sources

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


DEPLOYMENT: dict[str, Any] = {
    "status": "degraded",
    "reasons": ["no replica answers at http://b:1"],
    "timestamp": "2026-01-01T00:00:00+00:00",
    "replicas": [],
    "silent": ["http://b:1"],
    "shards": [],
    "services": {"services": 0, "usable": 0, "unusable": [], "instances": 0, "by_status": {}},
    "guard": "clear",
    "suspects": 0,
}
DEPLOYED: dict[str, Any] = {"agent": None}


def run(
    monkeypatch: pytest.MonkeyPatch,
    health: Any,
    about: Any = None,
    code: int = 200,
    output: str = "text",
    *,
    registry: Mapping[str, tuple[int, Any]] | None = None,
    **given: Any,
) -> int:
    bodies: dict[str, tuple[int, Any]] = {"/health": (code, health), "/self": (200, ABOUT if about is None else about)}

    def get(_url: str, path: str) -> HttpResponse:
        if health is None:
            raise Unreachable("no agent")
        return response(*bodies[path])

    def ask(_method: str, url: str, path: str, **_: Any) -> HttpResponse:
        asked.append(url)
        if registry is None:
            raise Unreachable(f"no answer from {url}: Connection refused")
        return response(*registry.get(path, (404, {})))

    asked.clear()
    monkeypatch.setattr(sources, "get", get)
    monkeypatch.setattr(sources, "ask", ask)
    return status.run(argparse.Namespace(output=output, watch=None, registry=None, **{"agent": "near:1", **given}), {})


asked: list[str] = []


def response(code: int, body: Any) -> HttpResponse:
    return HttpResponse(code, http.client.HTTPMessage(), json.dumps(body).encode())


def test_a_degraded_agent_still_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, {"status": "degraded", "reasons": ["the watch is lost"]}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["agent     http://near:1: degraded, up 2 h", "          the watch is lost"]


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


def test_the_deployment_comes_first_and_then_the_agent_whose_registry_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"/deployment": (200, DEPLOYMENT)}
    assert run(monkeypatch, {"status": "healthy", "reasons": []}, registry=found, **DEPLOYED) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["deployment  http://a:1: degraded", "            no replica answers at http://b:1"]
    assert "agents      unknown: this registry does not say" in lines
    assert lines[lines.index("") + 1] == "agent     http://127.0.0.1:8880: healthy, up 2 h"
    assert set(asked) == {"http://a:1"}


def test_a_machine_without_an_agent_shows_the_deployment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"/deployment": (200, DEPLOYMENT), "/agents": (200, {"agents": [], "unreported": 0})}
    assert run(monkeypatch, None, registry=found, **DEPLOYED) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "agent       none on this machine (http://127.0.0.1:8880)"
    assert set(asked) == {"http://127.0.0.1:8888"}


def test_a_registry_that_does_not_answer_is_a_failure_although_the_agent_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, {"status": "degraded", "reasons": []}, **DEPLOYED) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "deployment  unknown: no answer from http://a:1: Connection refused"
    assert lines[2].startswith("agent     http://127.0.0.1:8880: degraded")


def test_where_nothing_answers_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, None, **DEPLOYED) == 1
    assert capsys.readouterr() == ("", "vertice: no answer from http://127.0.0.1:8888: Connection refused\n")


@pytest.mark.parametrize(
    ("code", "body", "said"),
    [
        (404, {"error": "NotFound"}, "is no registry of this release"),
        (200, {}, "answers, but is not a registry"),
        (200, {**DEPLOYMENT, "replicas": [{}]}, "answers, but is not a registry"),
        (401, {"message": "no key"}, "no key"),
    ],
)
def test_another_registry_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, body: Any, said: str
) -> None:
    assert run(monkeypatch, None, registry={"/deployment": (code, body)}, **DEPLOYED) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert said in shown.err


def test_an_unhealthy_deployment_is_a_failure_with_its_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"/deployment": (200, {**DEPLOYMENT, "status": "unhealthy"})}
    assert run(monkeypatch, None, output="json", registry=found, **DEPLOYED) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["deployment"]["status"], said["agents"], said["self"]) == ("unhealthy", None, None)
