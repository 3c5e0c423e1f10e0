"""What `vertice top` prints, page by page."""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from cli.client import HttpResponse, Unreachable
from cli.commands import top

COUNTS = {"services": 1, "usable": 1, "unusable": [], "instances": 1, "by_status": {"passing": 1}}


def deployment(lookups: int) -> dict[str, Any]:
    requests = {"lookups": lookups, "writes": 0, "refused": 0, "failed": 0}
    one = {"id": "a", "url": "http://a", "cpu_percent": 3.0, "watchers": 2, "status": "healthy", "requests": requests}
    at = "2026-01-01T00:00:00.5+00:00"
    return {"timestamp": at, "status": "healthy", "replicas": [one], "silent": [], "services": COUNTS}


class Stage:
    """A registry that says one thing after another."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *pages: Any, usage: Any = None) -> None:
        self.pages, self.usage, self.now_s = iter(pages), usage, 0.0
        monkeypatch.setattr(top, "deployment_at", self.deployment_at)
        monkeypatch.setattr(top, "ask", self.ask)
        monkeypatch.setattr(top, "lines", self.lines)
        monkeypatch.setattr("time.monotonic", lambda: self.now_s)
        monkeypatch.setattr("time.sleep", self.sleep)

    def deployment_at(self, *_: object) -> dict[str, Any]:
        page = next(self.pages)
        if isinstance(page, Exception):
            raise page
        return dict(page)

    def ask(self, *_: object, **__: object) -> HttpResponse:
        status = 404 if self.usage is None else 200
        return HttpResponse(status, http.client.HTTPMessage(), json.dumps(self.usage).encode())

    def lines(self, _url: str, cursor: str, *_: object, once: bool) -> Iterator[Mapping[str, Any]]:
        assert once
        record = {"service_name": "billing", "instance_id": "x", "host": "h", "port": 1}
        if not cursor:
            yield {
                "type": "snapshot",
                "first": True,
                "last": True,
                "cursor": "0.a.1",
                "state": "ready",
                "instances": [],
            }
        else:
            yield {"type": "registered", "position": "0.a.2", "instance": record}

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def run(count: int, output: str = "text") -> int:
    return top.run(argparse.Namespace(registry="a:1", interval=2.0, count=count, output=output), {})


def test_the_second_page_has_rates_and_what_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [{"service": "quiet", "rate_per_second": 0.1, "consumers": []}]
    asked.append({"service": "b\x1busy", "rate_per_second": 99.6, "consumers": [{}, {}]})
    Stage(monkeypatch, deployment(10), deployment(30), usage={"usage": asked})
    assert run(2) == 0
    first, _, second = capsys.readouterr().out.partition("\n\n2026")
    assert "none yet" in first
    lines = second.splitlines()
    assert lines[0] == "-01-01 00:00:00  healthy  1 service, 1 instance"
    assert lines[3].split() == ["http://a", "10", "0", "0", "0", "3", "2", "healthy"]
    assert [line.split() for line in lines[6:9]] == [
        ["ASKED", "FOR", "PER", "SECOND", "CONSUMERS"],
        ["b\\x1busy", "100", "2"],
        ["quiet", "0.1", "0"],
    ]
    assert lines[-1].endswith("+ billing h:1 passing")


def test_as_json_each_page_is_a_line_with_the_changes_since_the_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Stage(monkeypatch, deployment(10), deployment(30))
    assert run(2, "json") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["replicas"][0]["rates"]["lookups"], first["changes"], first["services"]) == (None, [], None)
    assert (second["replicas"][0]["rates"]["lookups"], second["changes"]) == (10.0, ["+ billing h:1 passing"])


def test_a_registry_that_is_away_for_a_page_is_reported_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Stage(monkeypatch, deployment(10), Unreachable("no answer"), deployment(30))
    assert run(3) == 0
    shown = capsys.readouterr()
    assert shown.err == "vertice: no answer\n"
    assert "5.0" in shown.out  # 20 lookups in the 4 s between the two pages


def test_a_registry_that_never_answered_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Stage(monkeypatch, Unreachable("no answer"))
    assert run(3) == 1
    assert capsys.readouterr() == ("", "vertice: no answer\n")


def test_another_server_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Stage(monkeypatch, {**deployment(1), "services": {}})
    assert run(1) == 1
    assert capsys.readouterr().err == "vertice: http://a:1 answers, but is not a registry\n"
