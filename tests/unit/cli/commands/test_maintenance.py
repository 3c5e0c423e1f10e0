"""The states that `vertice maintenance` prints."""

from __future__ import annotations

import http.client
from types import ModuleType

import pytest

from cli.client import HttpResponse
from cli.commands import maintenance, maintenance_off, maintenance_on, maintenance_status
from cli.commands.maintenance import lines
from cli.parser import CommandParser


@pytest.mark.parametrize(
    ("held", "registered", "said"),
    [
        (None, "passing", "in use"),
        (None, "maintenance", "in use"),
        ("maintenance", "maintenance", "in maintenance"),
        ("maintenance", "passing", "in maintenance (at the registry: passing)"),
        ("maintenance", None, "in maintenance (at the registry: not registered)"),
        ("draining", "draining", "draining"),
    ],
)
def test_a_state_is_the_agents_and_the_registrys_where_that_differs(
    held: str | None, registered: str | None, said: str
) -> None:
    one = {"service_name": "billing", "instance_id": "a:1", "held": held, "registered_status": registered}
    assert list(lines({"services": [one]})) == [f"billing/a:1: {said}"]


@pytest.mark.parametrize(
    ("module", "method"), [(maintenance_on, "POST"), (maintenance_off, "DELETE"), (maintenance_status, "GET")]
)
@pytest.mark.parametrize(
    ("words", "path"),
    [
        ([], "/maintenance"),
        (["Billing.vertice.internal."], "/maintenance?service=billing"),
        (["billing/10.0.0.7:8034"], "/maintenance?service=billing&instance=10.0.0.7%3A8034"),
    ],
)
def test_each_command_sends_its_request(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, method: str, words: list[str], path: str
) -> None:
    asked: list[tuple[str, str, str]] = []

    def ask(*request: str) -> HttpResponse:
        asked.append((request[0], request[1], request[2]))
        return HttpResponse(200, http.client.HTTPMessage(), b'{"services": []}')

    monkeypatch.setattr(maintenance, "ask", ask)
    parser = CommandParser("vertice maintenance", "", "")
    module.add_arguments(parser)
    assert module.run(parser.read([*words, "--agent", "near:1"])) == 0
    assert asked == [(method, "http://near:1", path)]
