"""A real fleet's compose file, with agents added by `vertice compose inject`, and stand-ins for its programs.

As many services as fit on one machine: each in its own container, with its own name, port and health path, and with
the addresses by which it calls others. Only the programs are made up.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from cli.compose.reader import read_project
from cli.compose.sidecar_plan import planned
from cli.compose.sidecars import Options, SidecarSpec
from tests.compose.topology import COMPOSE, PYTHON, TAG, Topology, get
from tests.fleets import EXAMPLE, real_fleet
from tests.programs import VERTICE, wait_until
from tools.engine import Engine

COUNT = 20
KILLED = 3
FOLLOWED_S = 10.0
NET = "172.28.60"
REACH = Path(__file__).with_name("reach.py")
Measured = Callable[[str], None]

pytestmark = [pytest.mark.timeout(420), pytest.mark.usefixtures("images")]


class Fleet(NamedTuple):
    """The running services, and the agents added to them."""

    topology: Topology
    sidecars: list[SidecarSpec]

    @property
    def names(self) -> list[str]:
        return [sidecar.service for sidecar in self.sidecars]

    def reached(self, *names: str) -> dict[str, tuple[str, int, bool]]:
        """Return where the consumer found each service, and whether it answered there."""
        said = self.topology.run("consumer", "python", "/srv/reach.py", *names).splitlines()
        rows = [line.split() for line in said]
        return {name: (address, int(port), answered == "1") for name, address, port, answered in rows}


def chosen(measured: Measured) -> tuple[Mapping[str, Any], list[SidecarSpec]]:
    """Return the fleet's services as written, and those that are started here."""
    file = real_fleet()
    if not file.is_file():
        measured(f"not shown: a real fleet (there is none at {file}; VERTICE_FLEET names one), the example instead")
        file = EXAMPLE
    wanted = planned(read_project([file]), Options()).sidecars[:COUNT]
    return yaml.safe_load(file.read_text())["services"], list(wanted)


def stand_in(body: Mapping[str, Any], sidecar: SidecarSpec) -> dict[str, Any]:
    """Return a service as its file describes it, with another program in it."""
    kept = {key: body[key] for key in ("container_name", "environment", "healthcheck") if key in body}
    kept.pop("container_name", None)  # container names are shared by the whole machine
    return {
        **kept,
        "image": PYTHON,
        "command": ["python", "/srv/hello.py", str(sidecar.port)],
        "expose": [str(sidecar.port)],
        "sysctls": {"net.ipv4.ip_unprivileged_port_start": 0},
        "volumes": [
            f"{COMPOSE / 'example' / 'hello.py'}:/srv/hello.py:ro",
            f"{COMPOSE / 'resolv.conf'}:/etc/resolv.conf:ro",
        ],
    }


def written(folder: Path, services: Mapping[str, Any], sidecars: list[SidecarSpec]) -> Path:
    """Write the fleet of stand-ins, and let `vertice compose inject` add the agents."""
    file = folder / "fleet.yml"
    whole = {
        "services": {one.service: stand_in(services[one.service], one) for one in sidecars},
        "networks": {"default": {"ipam": {"config": [{"subnet": f"{NET}.0/24", "gateway": f"{NET}.1"}]}}},
    }
    file.write_text(yaml.safe_dump(whole, sort_keys=False))
    words = ("compose", "inject", str(file), "--write", "--image", f"vertice-agent:{TAG}")
    done = subprocess.run([*VERTICE, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    injected = yaml.safe_load(file.read_text())
    injected["services"] |= {
        "vertice-registry": {
            "image": f"vertice-registry:{TAG}",
            "environment": {"REGISTRY_AUTH": "off", "REGISTRY_MIN_PORT": "1", "REGISTRY_WARMING": "1"},
        },
        # It knows no registry: an agent that registers nothing is its resolver.
        "consumer": {
            "image": PYTHON,
            "command": ["python", "-c", "import time; time.sleep(3600)"],
            "sysctls": {"net.ipv4.ip_unprivileged_port_start": 0},
            "volumes": [f"{REACH}:/srv/reach.py:ro", f"{COMPOSE / 'resolv.conf'}:/etc/resolv.conf:ro"],
        },
        "consumer-agent": {
            "image": f"vertice-agent:{TAG}",
            "network_mode": "service:consumer",
            "depends_on": ["consumer"],
            "environment": {
                "REGISTRY_URL": "http://vertice-registry:8888",
                "AGENT_DNS_LISTEN": "127.0.0.1:53",
                "AGENT_DNS_FORWARD": "${VERTICE_DNS_FORWARD}",
            },
        },
    }
    whole_file = folder / "whole.yml"
    whole_file.write_text(yaml.safe_dump(injected, sort_keys=False))
    return whole_file


@pytest.fixture(scope="module")
def fleet(engine: Engine, measured: Measured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    services, sidecars = chosen(measured)
    file = written(tmp_path_factory.mktemp("fleet"), services, sidecars)
    resolver = "127.0.0.11" if engine.is_docker else f"{NET}.1"
    topology = Topology(engine, file, {"VERTICE_DNS_FORWARD": resolver})
    try:
        began = time.monotonic()
        topology.up(timeout_s=300)
        measured(f"fleet: {len(sidecars)} services with agents are up after {time.monotonic() - began:.0f} s")
        yield Fleet(topology, sidecars)
    finally:
        topology.down()


def test_every_service_is_registered_and_found_by_every_other_one(fleet: Fleet, measured: Measured) -> None:
    registry = fleet.topology.address("vertice-registry")
    began = time.monotonic()
    wait_until(
        lambda: get(f"http://{registry}:8888/services") == sorted(fleet.names), "all are registered", timeout_s=90
    )
    measured(f"fleet: all {len(fleet.names)} are registered {time.monotonic() - began:.1f} s after that")
    names = [f"{name}.vertice.internal" for name in fleet.names]
    addresses = [fleet.topology.address(name) for name in fleet.names]
    for name in fleet.names:
        wait_until(
            lambda name=name: fleet.topology.seen_by(name, *names) == addresses,  # type: ignore[misc]
            f"{name} finds everybody",
            timeout_s=30,
        )


def test_a_client_with_only_dns_reaches_every_service(fleet: Fleet) -> None:
    wanted = {one.service: (fleet.topology.address(one.service), one.port, True) for one in fleet.sidecars}
    wait_until(lambda: fleet.reached(*fleet.names) == wanted, "every service answers the consumer", timeout_s=60)


def test_killed_and_recreated_containers_are_followed(fleet: Fleet, measured: Measured) -> None:
    killed = fleet.sidecars[:KILLED]
    names = [one.service for one in killed]
    wait_until(lambda: all(row[2] for row in fleet.reached(*names).values()), "all answer before", timeout_s=60)
    before = {name: fleet.topology.address(name) for name in names}
    for one in killed:
        for service in (one.agent, one.service):
            fleet.topology.engine.remove(fleet.topology.container(service))
    # In another order, so that they get other addresses, even if the engine hands out the lowest free one.
    fleet.topology.up(*reversed([service for one in killed for service in (one.agent, one.service)]))
    began = time.monotonic()
    after = {name: fleet.topology.address(name) for name in names}
    assert after != before
    wanted = {one.service: (after[one.service], one.port, True) for one in killed}
    wait_until(lambda: fleet.reached(*names) == wanted, "their new addresses are found", timeout_s=60)
    took_s = time.monotonic() - began
    measured(f"fleet: {KILLED} services with new addresses are reached {took_s:.1f} s after they were made anew")
    assert took_s <= FOLLOWED_S


def test_ejecting_the_agents_restores_the_file(tmp_path: Path, measured: Measured) -> None:
    services, sidecars = chosen(measured)
    file = tmp_path / "fleet.yml"
    whole = {"services": {one.service: stand_in(services[one.service], one) for one in sidecars}}
    file.write_text(yaml.safe_dump(whole, sort_keys=False))
    before = file.read_bytes()
    for action in ("inject", "eject"):
        subprocess.run([*VERTICE, "compose", action, str(file), "--write"], check=True, capture_output=True, timeout=60)
        assert (file.read_bytes() == before) is (action == "eject")
