"""What `vertice dev` prints, and what it refuses to start."""

from __future__ import annotations

import os
import socket
import tomllib
from pathlib import Path

import pytest

from cli.dev import guide, supervisor
from cli.dev.guide import Ports
from cli.dev.plan import Plan, PlanFinding, PlannedInstance, PlannedService, Weight, instances
from cli.dev.supervisor import PortTaken, ProgressLine, agent_toml, check_ports, claim_net
from tests.programs import free_port

FLEET = instances(
    (PlannedService("front-door", 8000), PlannedService("parcel_tracker", 8034, replicas=3), PlannedService("mail", 25))
)


def test_findings_are_listed_by_severity_and_notes_are_shortened() -> None:
    doubts = tuple(PlanFinding(Weight.DOUBTFUL, f"svc{n}", "odd", n) for n in range(7))
    plan = Plan(9, (), (PlanFinding(Weight.UNUSABLE, "abc", "no port"), *doubts))
    assert list(guide.findings_text(plan, "vertice dev --check")) == [
        "Cannot be used (1):",
        "  - abc: no port",
        "Looks wrong, but does not matter here (7):",
        "  - svc0: odd",
        *(f"  - svc{n}: odd (line {n})" for n in range(1, 5)),
        "  ... and 2 more: vertice dev --check",
    ]
    assert len(list(guide.findings_text(plan))) == 10
    assert list(guide.findings_text(Plan(1, (), ()))) == []


def test_the_suggestions_use_the_names_and_ports_of_this_fleet() -> None:
    text = "\n".join(guide.next_text(FLEET, Ports(1, 2, 3), ".venv/bin/vertice", 42))
    for line in (
        "dig @127.0.0.1 -p 3 _parcel_tracker._tcp.vertice.internal SRV",
        "dig @127.0.0.1 -p 3 parcel-tracker.vertice.internal A ",
        "curl http://127.0.0.1:2/services/front-door",
        """curl "$(curl -s 'http://127.0.0.1:2/resolve/front-door?format=url')/health\"""",
        ".venv/bin/vertice services --agent http://127.0.0.1:2",
        ".venv/bin/vertice resolve front-door --agent http://127.0.0.1:2",
        ".venv/bin/vertice watch --registry http://127.0.0.1:1",
        "curl -X POST http://127.77.0.2:8034/fail",
        "kill 42",
    ):
        assert f"  {line}" in text


def test_with_the_default_ports_no_flags_are_shown() -> None:
    text = "\n".join(guide.next_text(FLEET[:1], Ports(), "vertice", 42))
    assert "--agent" not in text
    assert "vertice resolve front-door" in text


def test_an_empty_fleet_has_no_suggestions() -> None:
    assert list(guide.next_text((), Ports(), "vertice", 42)) == [
        "There is nothing to look up: no service of the file can be used."
    ]


def test_a_dead_child_is_reported_with_its_last_output_and_how_to_restart_it() -> None:
    registry = list(guide.death_text("registry", -9, ["one", "x" * 500], "vertice registry"))
    assert registry[0] == "The registry was ended by signal 9. Its last output:"
    assert registry[1:3] == ["  | one", "  | " + "x" * 200]
    assert "Lookups continue" in registry[3]
    assert registry[4] == "  vertice registry"
    agent = list(guide.death_text("agent", 1, [], "vertice agent"))
    assert agent[0] == "The agent ended with exit code 1. Its last output:"
    assert "rest continues without the agent" in agent[1]


def test_the_closing_message_is_accurate() -> None:
    assert guide.farewell_text(14, 0, drained=True) == "14 instances deregistered; 0 left at the registry."
    assert guide.farewell_text(14, 14, drained=True) == "0 instances deregistered; 14 left at the registry."
    assert guide.farewell_text(14, 3, drained=False).startswith("11 instances deregistered; 3 left")
    assert "in time" in guide.farewell_text(14, 3, drained=False)
    assert "the registry is down" in guide.farewell_text(14, None, drained=True)


def test_the_command_is_shown_in_its_shortest_form(tmp_path: Path) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    assert guide.shown_command(python, tmp_path) == f"{python} -m cli.main"
    (python.parent / "vertice").touch()
    assert guide.shown_command(python, tmp_path) == ".venv/bin/vertice"
    assert guide.shown_command(python, Path("/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p")).startswith(("/", "../"))


def test_the_configuration_of_the_agent_has_every_instance() -> None:
    tables = tomllib.loads(agent_toml([*FLEET, PlannedInstance("odd", "127.0.0.1", 1, '/a?b="c"')]))["service"]
    assert [t["name"] for t in tables] == ["front-door", *["parcel_tracker"] * 3, "mail", "odd"]
    assert tables[1] == {"name": "parcel_tracker", "host": "127.77.0.2", "port": 8034, "health_endpoint": "/health"}
    assert tables[-1]["health_endpoint"] == '/a?b="c"'


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("registry", socket.SOCK_STREAM),
        ("http", socket.SOCK_STREAM),
        ("dns", socket.SOCK_STREAM),
        ("dns", socket.SOCK_DGRAM),
    ],
)
def test_a_taken_port_is_named_with_the_flag_that_chooses_another(name: str, kind: socket.SocketKind) -> None:
    ports = {"registry": free_port(), "http": free_port(), "dns": free_port()}
    check_ports(Ports(**ports))
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", ports[name]))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        with pytest.raises(PortTaken) as refused:
            check_ports(Ports(**ports))
    text = str(refused.value)
    assert text.startswith(f"cannot listen on 127.0.0.1:{ports[name]}: the port is taken by ")
    assert text.endswith(f"(pid {os.getpid()}); stop it, or set --{name}-port to another port")


def test_two_runs_on_one_machine_have_different_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    # Unused networks: taking all of the usual ones would block a `vertice dev` that starts just now.
    monkeypatch.setattr(supervisor, "FIRST_NET", 130)
    monkeypatch.setattr(supervisor, "NETS", 2)
    (first, claim), (second, other) = claim_net(), claim_net()
    with claim, other:
        assert first != second
        with pytest.raises(PortTaken, match="2 of these run on this machine already"):
            claim_net()
    third, claim = claim_net()
    with claim:
        assert third == first


def test_progress_on_a_terminal_rewrites_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    progress = ProgressLine(print, 2)
    for found in (0, 1, 1, 2):
        progress.show(found)
    progress.end()
    assert capsys.readouterr().out == "\rservices 0/2\rservices 1/2\rservices 2/2\n"


def test_progress_in_a_file_is_a_few_lines() -> None:
    said: list[str] = []
    progress = ProgressLine(said.append, 100)
    for found in range(101):
        progress.show(found)
    progress.end()
    assert said == ["services 25/100", "services 50/100", "services 75/100", "services 100/100"]
