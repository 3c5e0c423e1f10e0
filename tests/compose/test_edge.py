"""compose/edge.yml, running: a registry, two followers at an edge, and what goes on there without the registry."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.compose.topology import Topology, get, instances, running
from tests.programs import free_port, wait_until
from tools.engine import Engine

pytestmark = pytest.mark.timeout(300)


def last_line(topology: Topology, service: str) -> str:
    return ["", *topology.log(service).splitlines()][-1]


def followers(at: str) -> list[dict[str, Any]]:
    said = get(f"http://{at}/deployment") or {"replicas": [{"followers": []}]}
    return [one for replica in said["replicas"] for one in replica["followers"]]


def test_the_edge_survives_its_registry_and_its_followers_show_in_the_tree(
    engine: Engine, images: dict[str, str], measured: Callable[[str], None]
) -> None:
    registry, edge = f"127.0.0.1:{(port := free_port())}", f"127.0.0.1:{(edge_port := free_port())}"
    began = time.monotonic()
    gateway = {} if engine.is_docker else {"ENGINE_DNS": "172.28.58.1"}
    with running(engine, "edge.yml", REGISTRY_PORT=str(port), EDGE_PORT=str(edge_port), **gateway) as topology:
        wait_until(lambda: "hello from" in last_line(topology, "consumer"), "the consumer finds it", timeout_s=90)
        measured(f"edge.yml: {time.monotonic() - began:.1f} s from `up` to the consumer's first good answer")
        # It was registered through a follower, and the registry has it.
        expected = {topology.address("hello"): "passing"}
        assert instances(registry, "hello") == expected
        for at in (registry, edge):
            wait_until(lambda at=at: len(followers(at)) == 2, "both followers are known", timeout_s=30)  # type: ignore[misc] # a default is no type
        topology.command("kill", "registry")
        lines = len(topology.log("consumer").splitlines())
        wait_until(lambda: len(topology.log("consumer").splitlines()) >= lines + 5, "it goes on", timeout_s=30)
        after = topology.log("consumer").splitlines()[lines:]
        assert all("hello from" in line for line in after), after
        assert instances(edge, "hello") == expected
        topology.command("start", "registry")
        wait_until(
            lambda: instances(registry, "hello") == expected, "it is told again, through followers", timeout_s=90
        )
