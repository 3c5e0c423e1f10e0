"""The rows of `vertice services`."""

from __future__ import annotations

import argparse
import http.client
import json
from typing import Any

import pytest

from cli.client import HttpResponse
from cli.commands import services
from cli.commands.services import row


def summary(**more: Any) -> dict[str, Any]:
    said = {"service_name": "billing", "held": True, "instances": 1, "statuses": {"passing": 1}}
    return {**said, "endpoints": ["http://10.0.0.7:8034"], **more}


@pytest.mark.parametrize(
    ("given", "cells"),
    [
        ({}, ("billing", "1", "passing", "10.0.0.7:8034")),
        (
            {
                "instances": 5,
                "statuses": {"passing": 4, "critical": 1},
                "endpoints": [f"http://10.0.0.{n}:80" for n in range(1, 6)],
            },
            ("billing", "5", "4 passing, 1 critical", "10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80, 2 more"),
        ),
        ({"held": False}, ("billing", "-", "-", "-")),
        ({"service_name": "a\x1b[2J"}, ("a\\x1b[2J", "1", "passing", "10.0.0.7:8034")),
    ],
)
def test_a_row_has_the_number_the_health_and_the_place(given: dict[str, Any], cells: tuple[str, ...]) -> None:
    assert row(summary(**given)) == cells


def run(monkeypatch: pytest.MonkeyPatch, *answers: tuple[int, Any], output: str = "text") -> int:
    left = [HttpResponse(status, http.client.HTTPMessage(), json.dumps(body).encode()) for status, body in answers]
    monkeypatch.setattr(services, "get", lambda *_: left.pop(0))
    return services.run(argparse.Namespace(agent="far:1", output=output))


def test_an_agent_of_an_earlier_release_has_names_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, (400, {"message": "there is no such query parameter"}), (200, ["billing"])) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()][1] == ["billing", "-", "-", "-"]


def test_no_services_are_no_output_and_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, (200, [])) == 0
    assert capsys.readouterr() == ("", "vertice: no service is registered\n")
    assert run(monkeypatch, (200, []), output="json") == 0
    assert capsys.readouterr() == ("[]\n", "")


@pytest.mark.parametrize("body", [{"a": 1}, [1], [{"service_name": "x"}], "text"])
def test_another_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: Any
) -> None:
    assert run(monkeypatch, (200, body)) == 1
    assert capsys.readouterr() == ("", "vertice: http://far:1 answers, but is not an agent\n")
