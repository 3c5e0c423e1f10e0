"""What `vertice drain` and `vertice explain` print, and their exit codes."""

from __future__ import annotations

import argparse
import http.client
import json
from typing import Any

import pytest

from cli.client import HttpResponse
from cli.commands import drain, explain
from cli.parser import WrongUsage


def answer(body: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(status, http.client.HTTPMessage(), json.dumps(body).encode())


def held(**more: Any) -> Any:
    one = {"service_name": "billing", "instance_id": "a:1", "held": "draining", "registered_status": "draining"}
    counts = {"watchers": 3, "acknowledged": 2, "silent_registries": 0, "done": False}
    return {"services": [{**one, **counts, **more}]}


def run_drain(
    monkeypatch: pytest.MonkeyPatch,
    *answers: HttpResponse,
    undo: bool = False,
    timeout: float | None = None,
    output: str = "text",
) -> int:
    left = list(answers)
    monkeypatch.setattr(drain, "ask", lambda *_: left.pop(0))
    monkeypatch.setattr(drain, "EVERY_S", 0.0)
    return drain.run(
        argparse.Namespace(what=("billing", "a:1"), undo=undo, timeout=timeout, output=output, agent="http://near")
    )


def test_the_progress_of_a_drain_is_shown_until_all_acknowledged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [held(registered_status="passing"), held(), held(), held(acknowledged=3, done=True)]
    assert run_drain(monkeypatch, answer(held()), *map(answer, steps)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "billing/a:1: waiting for the registry to confirm",
        "billing/a:1: draining, acknowledged 2 of 3",
        "billing/a:1: drained, acknowledged 3 of 3; earlier DNS answers expire in 5 s",
    ]


def test_a_drain_that_is_not_acknowledged_in_time_fails_and_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_drain(monkeypatch, answer(held()), answer(held(silent_registries=1)), timeout=0.0) == 1
    shown = capsys.readouterr()
    assert shown.out == "billing/a:1: draining, acknowledged 2 of 3; no answer from 1 registry\n"
    assert shown.err == "vertice: not all agents acknowledged within 0 s; the drain continues\n"


@pytest.mark.parametrize(
    ("one", "said"), [({"held": None}, "back in use"), ({"held": "maintenance"}, "still maintenance")]
)
def test_an_undone_drain_shows_the_remaining_state(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one: Any, said: str
) -> None:
    assert run_drain(monkeypatch, answer(held(**one)), undo=True) == 0
    assert capsys.readouterr().out == f"billing/a:1: {said}\n"


@pytest.mark.parametrize(("status", "code"), [(404, 3), (400, 2), (403, 1), (503, 1)])
def test_a_refused_drain_has_the_documented_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int, code: int
) -> None:
    assert run_drain(monkeypatch, answer({"message": "no", "field": "service"}, status)) == code
    assert capsys.readouterr() == ("", "vertice: no\n")


def test_an_answer_from_something_else_than_an_agent_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_drain(monkeypatch, answer(held()), answer({})) == 1
    assert "is not an agent" in capsys.readouterr().err


EXPLAINED = {
    "service_name": "billing",
    "found": True,
    "summary": "1 of 2 instances of 'billing' are answered with",
    "source": "view",
    "age_seconds": 0.0,
    "freshness": "fresh",
    "complete": True,
    "similar": [],
    "instances": [
        {"verdict": "in", "instance_id": "a:1", "status": "passing", "answers": ["http", "a", "srv"], "why": "good"},
        {"verdict": "out", "instance_id": "b:22", "status": "critical", "answers": [], "why": "ill"},
    ],
}


def run_explain(monkeypatch: pytest.MonkeyPatch, body: Any, status: int = 200) -> int:
    monkeypatch.setattr(explain, "get", lambda *_: answer(body, status))
    filters = dict.fromkeys(explain.FILTERS)
    return explain.run(argparse.Namespace(name="billing", output="text", agent="http://near", **filters))


def test_an_explanation_is_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_explain(monkeypatch, EXPLAINED) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 of 2 instances of 'billing' are answered with",
        "source: the registry, confirmed 0 s ago (fresh)",
        "",
        "     INSTANCE  STATUS    ANSWERS     WHY",
        "in   a:1       passing   http a srv  good",
        "out  b:22      critical  -           ill",
    ]


@pytest.mark.parametrize(("complete", "code"), [(True, 3), (False, 1)])
def test_no_such_service_has_another_exit_code_than_an_incomplete_view(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], complete: bool, code: int
) -> None:
    body = {**EXPLAINED, "found": False, "complete": complete, "source": "", "similar": ["biling"], "instances": []}
    assert run_explain(monkeypatch, body) == code
    assert "similar names: biling" in capsys.readouterr().out


def test_the_end_of_a_drain_can_be_printed_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_drain(monkeypatch, answer(held()), answer(held(done=True)), output="json") == 0
    assert json.loads(capsys.readouterr().out)["services"][0]["done"] is True


def test_an_option_without_effect_is_refused() -> None:
    with pytest.raises(WrongUsage, match="--timeout has no effect with --undo"):
        drain.run(argparse.Namespace(what=("billing", ""), undo=True, timeout=1.0, output="text", agent="http://near"))
