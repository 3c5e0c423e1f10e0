"""An agent in a fleet that exceeds its view: a registry with 3,000 services, and room for 50."""

from __future__ import annotations

import http.client
import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.settings.table import VIEW_MB
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until
from tests.scenarios.system import get_json, status_of
from tests.scenarios.test_agent_state import Agent

pytestmark = pytest.mark.long

COUNT = 3000
PLACES = 50
OWN = "own_service"
MOST_MB = 2


def host_of(number: int) -> str:
    return f"10.{number // 200}.{number % 200}.7"


def name_of(number: int) -> str:
    return f"service_{number:04}"


class Central:
    """A registry with many services, each registered directly."""

    def __init__(self, port: int, program: Program) -> None:
        self.port = port
        self.program = program

    def register(self, *numbers: int, at_port: int = 8000) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        for number in numbers:
            body = {"service_name": name_of(number), "host": host_of(number), "port": at_port, "instance_id": "one"}
            connection.request("POST", "/register", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 201, answer.read()
            answer.read()
        connection.close()


@pytest.fixture
def central(tmp_path: Path) -> Iterator[Central]:
    port = free_port()
    settings = {"REGISTRY_LISTEN": f"127.0.0.1:{port}", "REGISTRY_AUTH": "off", "REGISTRY_WARMING": "0"}
    with running([*VERTICE, "registry"], tmp_path / "registry.log", settings) as program:
        wait_until(lambda: accepts(port), "the registry listens")
        central = Central(port, program)
        central.register(*range(COUNT))
        yield central
        program.signal(signal.SIGCONT)


def in_view(agent: Agent) -> dict[str, float]:
    view = agent.about()["view"]
    assert isinstance(view, dict)
    return view


def counted(agent: Agent, sample: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", agent.http_port, timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample))


def test_a_fleet_larger_than_the_view_resolves_within_the_bounds(central: Central, tmp_path: Path) -> None:
    pick = random.Random(11)
    agent = Agent(
        tmp_path,
        central.port,
        AGENT_VIEW_SERVICES=str(PLACES),
        AGENT_VIEW_MB=str(MOST_MB),
        SERVICE_NAME=OWN,
        SERVICE_HOST="127.77.0.9",
        SERVICE_PORT="7000",
        AGENT_CHECK="none",
        AGENT_DRAIN_WAIT="0",
    )
    with agent.running():
        wait_until(lambda: accepts(agent.http_port) and in_view(agent)["services"] == COUNT + 1, "it knows all names")
        own = f"http://127.0.0.1:{agent.http_port}/services"
        assert len(get_json(own)) == COUNT + 1

        asked = pick.sample(range(COUNT), 2 * PLACES)
        for number in asked[:PLACES]:
            assert f"\t{host_of(number)}\n" in agent.dig(name_of(number)), "the first lookup is answered"
        for number in asked[PLACES:]:
            assert get_json(f"{own}/{name_of(number)}")["host"] == host_of(number)
        view = in_view(agent)
        assert view["held_services"] <= PLACES
        assert view["bytes"] <= MOST_MB * 1024 * 1024 < VIEW_MB.default * 1024 * 1024
        assert counted(agent, 'cache_evictions_total{cache="view"}') >= PLACES
        assert get_json(f"{own}/{OWN}")["host"] == "127.77.0.9", "its own is held whatever is looked up"
        assert "NXDOMAIN" in agent.dig("nobody-at-all")
        assert view["complete"]

        latest = asked[-1]
        central.register(latest, at_port=9999)
        wait_until(lambda: get_json(f"{own}/{name_of(latest)}")["port"] == 9999, "what is held follows the registry")
        sync = agent.about()["sync"]
        assert isinstance(sync, dict)
        assert sync["mismatches"] == sync["resyncs"] == 0

        central.program.signal(signal.SIGSTOP)
        never = next(n for n in range(COUNT) if n not in asked and n >= 2 * PLACES)
        assert f"\t{host_of(latest)}\n" in agent.dig(name_of(latest)), "a held service waits for nothing"
        assert status_of(f"{own}/{name_of(never)}") == 503, "it exists, but is undecided"
        central.program.signal(signal.SIGCONT)
        wait_until(lambda: status_of(f"{own}/{name_of(never)}") == 200, "it can be told again")

        central.program.signal(signal.SIGKILL)
        wait_until(lambda: not accepts(central.port), "the registry is gone")
        another = next(n for n in range(COUNT) if n not in asked and n > never)
        wait_until(lambda: "SERVFAIL" in agent.dig(name_of(another)), "a name that is not held cannot be told")
        assert f"\t{host_of(never)}\n" in agent.dig(name_of(never))
