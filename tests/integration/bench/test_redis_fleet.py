"""The fleet that benchmarks put directly into Redis is one that a registry serves."""

import json
import urllib.request
from pathlib import Path

import pytest
from redis import Redis

from bench.fleet import fill
from bench.middle import redis_shard, registry_on
from tests.programs import wait_until

pytestmark = pytest.mark.redis


def services(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/services", timeout=5) as answer:
        names: list[str] = json.load(answer)
        return names


def test_a_fleet_put_into_redis_is_served_by_a_registry(tmp_path: Path) -> None:
    with redis_shard(tmp_path) as shard, registry_on(shard, tmp_path) as (port, _):
        with Redis(port=shard.nodes[0].port) as client:
            fill(client, 0, 25)
        wait_until(lambda: len(services(port)) == 3, "the registry knows the three services")
