"""A service of three instances is restarted one after the other, behind HAProxy and under load: no request fails."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import VERTICE, Program, accepts, find, free_port, running, wait_until
from tests.scenarios.haproxy_over_dns import HAPROXY_OVER_DNS
from tests.scenarios.system import get_json, status_of

pytestmark = pytest.mark.long

SERVICE = "parcel_tracker"


class Beside:
    """One server of the service and its agent: both are real programs."""

    def __init__(self, number: int, registry: str, folder: Path) -> None:
        self.host, self.port = f"127.121.1.{number}", free_port()
        self.http = free_port()
        self.folder = folder
        self.settings = {
            "SERVICE_NAME": SERVICE,
            "SERVICE_HOST": self.host,
            "SERVICE_PORT": str(self.port),
            "REGISTRY_URL": registry,
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
            "AGENT_CHECK_INTERVAL": "1",
            # HAProxy queries twice a second, and uses an earlier answer for this long at most.
            "AGENT_DRAIN_WAIT": "2",
        }
        self.start()

    @property
    def instance(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        server = [sys.executable, "-m", "tests.scenarios.server", SERVICE, self.host, str(self.port)]
        self.server = Program(server, self.folder / f"server-{self.host}.log")
        self.agent = Program([*VERTICE, "agent"], self.folder / f"agent-{self.host}.log", self.settings)

    def restart(self) -> None:
        """Stop the agent, which drains, and then the server; start both again."""
        self.agent.signal(signal.SIGTERM)
        assert self.agent.process.wait(30) == 0, self.agent.output()
        self.server.stop()
        self.start()

    def stop(self) -> None:
        self.agent.stop()
        self.server.stop()

    def confirmed(self) -> list[int]:
        """Return, for each of its confirmed drains, how many agents had acknowledged it."""
        return [int(n) for n in re.findall(r'"event": ?"drain_confirmed".*?"watchers": ?(\d+)', self.agent.output())]


class Rolling:
    """The whole system: a registry, three servers with their agents, an agent for HAProxy, and HAProxy."""

    def __init__(self, three: list[Beside], lookups: int, front: int) -> None:
        self.three = three
        self.lookups = lookups
        self.front = front

    def answers(self) -> set[str]:
        """Return which instances answer a few requests."""
        with contextlib.suppress(OSError):
            return {self._ask()["instance"] for _ in range(12)}
        return set()

    def _ask(self) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.front}/", timeout=10) as response:
            return json.load(response)

    def all_answer(self) -> None:
        everybody = {beside.instance for beside in self.three}
        wait_until(lambda: self.answers() == everybody, "HAProxy sends requests to all three", timeout_s=40)


@pytest.fixture
def rolling(tmp_path: Path) -> Iterator[Rolling]:
    port, front, dns, lookups = (free_port() for _ in range(4))
    registry = f"http://127.0.0.1:{port}"
    looking = {
        "REGISTRY_URL": registry,
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{lookups}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns}",
    }
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY_OVER_DNS.format(dns=dns, front=front, service=SERVICE))
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            running([*VERTICE, "registry"], tmp_path / "registry.log", {"REGISTRY_LISTEN": f"127.0.0.1:{port}"})
        )
        wait_until(lambda: accepts(port), "the registry listens")
        stack.enter_context(running([*VERTICE, "agent"], tmp_path / "lookups.log", looking))
        three = []
        for number in range(1, 4):
            three.append(Beside(number, registry, tmp_path))
            stack.callback(three[-1].stop)
        wait_until(lambda: status_of(f"http://127.0.0.1:{lookups}/services/{SERVICE}") == 200, "they are registered")
        stack.enter_context(running([find("haproxy"), "-db", "-f", str(config)], tmp_path / "haproxy.log"))
        wait_until(lambda: accepts(front), "HAProxy listens")
        yield Rolling(three, lookups, front)


def test_three_instances_are_restarted_one_after_the_other_under_load_and_no_request_fails(
    rolling: Rolling, tmp_path: Path
) -> None:
    rolling.all_answer()
    url = f"http://127.0.0.1:{rolling.front}/"
    with running([sys.executable, "-m", "tests.scenarios.asking", url], tmp_path / "asking.log") as asking:
        for beside in rolling.three:
            beside.restart()
            rolling.all_answer()
        assert asking.stop() == 0
        result = json.loads(asking.output())
    sys.stdout.write(f"{result}\n")
    assert result["failed"] == []
    assert result["asked"] > 500
    assert set(result["answered"]) == {beside.instance for beside in rolling.three}
    # Each was deregistered only when all four agents had acknowledged the drain.
    assert [beside.confirmed() for beside in rolling.three] == [[4], [4], [4]]


def test_an_instance_drained_by_command_gets_no_request_until_the_drain_is_undone(rolling: Rolling) -> None:
    rolling.all_answer()
    first, *others = rolling.three

    def drain(*words: str) -> str:
        done = Program([*VERTICE, "drain", *words, "--agent", f"http://127.0.0.1:{first.http}"], first.folder / "drain")
        assert done.process.wait(40) == 0, done.output()
        return done.output()

    assert re.search(r"drained, acknowledged 4 of 4;", drain(SERVICE))
    # HAProxy queries again twice a second.
    wait_until(lambda: rolling.answers() == {other.instance for other in others}, "HAProxy sends it nobody")
    shown = get_json(f"http://127.0.0.1:{rolling.lookups}/services/{SERVICE}")
    assert {one["instance_id"] for one in shown["instances"]} == {other.instance for other in others}
    assert "back in use" in drain(f"{SERVICE}/{first.instance}", "--undo")
    rolling.all_answer()
