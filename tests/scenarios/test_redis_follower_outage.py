"""A registry is killed and comes back: its follower answers every lookup meanwhile, and is level again soon after.

Real processes and a real Redis. The outage lasts AWAY_S here; VERTICE_TEST_OUTAGE_S makes it longer, for example 90.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.previous import THIS
from tests.programs import wait_until
from tests.redis_topology import RedisServer, redis_server
from tests.scenarios.two_releases import Place, agent, ask, replica

AWAY_S: Final = float(os.environ.get("VERTICE_TEST_OUTAGE_S", "6"))
LEVEL_S: Final = 5.0
SERVICES: Final = 20
PATHS: Final = ("/services/service-0", "/services", "/services/service-19?zone=eu", "/catalog")
AT_AGENTS: Final = PATHS[:3]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", persistent=True) as running:
        yield running


@pytest.fixture
def house() -> Iterator[contextlib.ExitStack]:
    """What is stopped at the end of a test, the last first."""
    with contextlib.ExitStack() as stack:
        yield stack


class Asking(threading.Thread):
    """Looks services up, one request after the other, until it is told to end."""

    def __init__(self, port: int, paths: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._paths = paths
        self._ended = threading.Event()
        self.answers: Counter[int] = Counter()
        self.ages: list[int] = []

    def run(self) -> None:
        number = 0
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        while not self._ended.wait(0.005):
            try:
                connection.request("GET", self._paths[number % len(self._paths)])
                answer = connection.getresponse()
                answer.read()
                self.answers[answer.status] += 1
                self.ages.append(int(answer.headers.get("Age", "-1")))
            except (OSError, http.client.HTTPException):
                self.answers[0] += 1
                connection.close()
            number += 1
        connection.close()

    def end(self) -> None:
        self._ended.set()
        self.join()


def cursor_at(place: Place) -> Any:
    return ask(place.port, "GET", "/catalog")[1]["cursor"]


@pytest.mark.timeout(240)
def test_a_killed_registry_costs_no_lookup_and_the_follower_is_level_within_seconds(
    tmp_path: Path, redis: RedisServer, house: contextlib.ExitStack
) -> None:
    registry = replica(tmp_path, "registry", redis.url)
    writer = replica(tmp_path, "writer", redis.url)
    follower = replica(tmp_path, "follower", "memory:", {"REGISTRY_FOLLOW": registry.url})
    behind = agent(tmp_path, "agent", [follower])
    for place in (registry, writer, follower, behind):
        house.callback(place.stop)
        place.start(THIS)
    for number in range(SERVICES):
        body = {"service_name": f"service-{number}", "host": f"10.0.0.{number + 1}", "port": 8034, "zone": "eu"}
        assert ask(writer.port, "POST", "/register", body)[0] == 201
    wait_until(lambda: cursor_at(follower) == cursor_at(writer), "the follower is level", every_s=0.02)
    wait_until(lambda: ask(behind.port, "GET", "/services/service-19")[0] == 200, "so is the agent", every_s=0.02)
    asking, at_agent = Asking(follower.port, PATHS), Asking(behind.port, AT_AGENTS)
    asking.start()
    at_agent.start()
    registry.kill()
    killed = time.monotonic()
    body = {"service_name": "meanwhile", "host": "10.0.1.1", "port": 8034}
    assert ask(writer.port, "POST", "/register", body)[0] == 201, "another replica takes writes"
    time.sleep(AWAY_S)
    assert ask(follower.port, "GET", "/services/meanwhile")[0] in (404, 503)
    registry.start(THIS)
    back = time.monotonic()
    wait_until(lambda: cursor_at(follower) == cursor_at(writer), "it is level", timeout_s=30, every_s=0.02)
    level_s = time.monotonic() - back
    wait_until(lambda: ask(behind.port, "GET", "/services/meanwhile")[0] == 200, "so is the agent", every_s=0.02)
    asking.end()
    at_agent.end()
    assert set(asking.answers) == {200}, asking.answers
    assert set(at_agent.answers) == {200}, at_agent.answers
    assert asking.answers[200] > AWAY_S
    # The last sign of life came up to 5 s before it was killed.
    assert int(AWAY_S) - 2 <= max(asking.ages) <= back - killed + 5.0 + level_s, "the answers said how old they were"
    assert asking.ages[-1] == 0
    assert level_s < LEVEL_S
    streams = metrics_of(follower, "registry_upstream_streams_total")
    # A replica that has just started has no history from before, unless its store still has it.
    assert streams['event="resumed"'] + streams['event="read anew"'] == 2
    assert metrics_of(behind, "agent_sync_losses_total") == {"": 0.0}, "the agent noticed nothing"
    assert metrics_of(behind, "agent_sync_snapshots_total") == {"": 1.0}, "it got the differences"
    for place in (behind, follower, writer, registry):
        assert place.complaints() == []


def metrics_of(place: Place, name: str) -> dict[str, float]:
    """Return the values of one metric, by its labels."""
    connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {m[1] or "": float(m[2]) for m in re.finditer(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)}
