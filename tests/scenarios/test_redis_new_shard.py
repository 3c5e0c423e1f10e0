"""A shard is added to a running system: replicas restart one after the other, and no lookup misses an instance."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from registry_core.domain.sharding import shard_of
from tests.chaos.system import say
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until
from tests.redis_topology import Topology, topology
from tests.scenarios.system import get_json

pytestmark = pytest.mark.long

SERVICES = sorted(f"service_{number:02}" for number in range(40))
OLD, NEW = ("a", "b"), ("a", "b", "c")
SOON = {"REGISTRY_LEASE_TTL": "6", "REGISTRY_HEARTBEAT_INTERVAL": "1", "REGISTRY_LEASE_GRACE": "2"}
AGENT = {"AGENT_CHECK": "none", "AGENT_DRAIN_WAIT": "0", "HEARTBEAT_INTERVAL": "1"}


class Replica:
    """One replica at its own port, restarted with other masters."""

    def __init__(self, folder: Path, name: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"{name}.log"
        self._program: Program | None = None

    def start(self, store: str) -> None:
        self.stop()
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{self.port}"]
        environment = {"REGISTRY_STORE": store, "REGISTRY_WARMING": "0", **SOON}
        self._program = Program(argv, self._log, environment)
        wait_until(lambda: accepts(self.port), "the replica listens", timeout_s=20)

    def stop(self) -> None:
        if self._program is not None:
            self._program.stop()


class Reader:
    """Looks up all services at replicas, repeatedly, and records every incomplete answer."""

    def __init__(self, replicas: list[Replica]) -> None:
        self.asked = 0
        self.wrong: list[object] = []
        self._replicas = replicas
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Look services up for the duration of a `with`."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join(15)

    def _run(self) -> None:
        while not self._ended.wait(0.005):
            for replica in self._replicas:
                address = urlsplit(replica.url)
                connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=5)
                try:
                    connection.request("GET", "/services")
                    answer = connection.getresponse()
                    names = json.loads(answer.read())
                except (OSError, http.client.HTTPException):
                    continue  # it is being restarted
                finally:
                    connection.close()
                self.asked += 1
                if answer.status != 200 or names != SERVICES:
                    self.wrong.append((replica.url, answer.status, sorted(set(SERVICES) - set(names))))


def agent(folder: Path, name: str, services: list[str], replica: Replica) -> contextlib.AbstractContextManager[Program]:
    """Run an agent that registers `services` at one replica."""
    config = folder / f"{name}.toml"
    tables = [f'[[service]]\nname = "{s}"\nhost = "127.77.0.9"\nport = {7000 + SERVICES.index(s)}\n' for s in services]
    config.write_text("\n".join(tables), encoding="utf-8")
    settings = {
        **AGENT,
        "REGISTRY_URL": replica.url,
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
    }
    return running([*VERTICE, "agent", "--config", str(config)], folder / f"{name}.log", settings)


def url(whole: Topology, masters: tuple[str, ...], *, joining: str = "") -> str:
    at = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in whole.sentinels)
    return f"redis+sentinel://{at}/?masters={','.join(masters)}" + (f"&joining={joining}" if joining else "")


def held(whole: Topology, shard: str) -> list[str]:
    """Return the services of which a shard's first node has a record."""
    fields = whole.shard(shard).nodes[0].ask("HKEYS", "vertice:records")
    return sorted(str(field).partition("/")[0].replace("-", "_") for field in fields)


def share(shard: str, shards: tuple[str, ...]) -> list[str]:
    return sorted(s for s in SERVICES if shards[shard_of(s.replace("_", "-"), shards)] == shard)


def test_a_joining_shard_takes_its_share_and_no_lookup_misses_an_instance(tmp_path: Path) -> None:
    replicas = [Replica(tmp_path, "one"), Replica(tmp_path, "two")]
    with topology(tmp_path / "redis", NEW, replicas=1) as whole, contextlib.ExitStack() as stack:
        for replica in replicas:
            stack.callback(replica.stop)
            replica.start(url(whole, OLD))
        for number, replica in enumerate(replicas):
            stack.enter_context(agent(tmp_path, f"agent-{number}", SERVICES[number::2], replica))
        for replica in replicas:
            wait_until(lambda at=replica.url: get_json(f"{at}/services") == SERVICES, "all are there", timeout_s=20)  # type: ignore[misc]
        assert [held(whole, shard) for shard in OLD] == [share(shard, OLD) for shard in OLD]
        reader = Reader(replicas)
        with reader.going_on():
            for replica in replicas:
                replica.start(url(whole, NEW, joining="c"))
            assert held(whole, "c") == [], "a shard that joins is not written to"
            replicas[0].start(url(whole, NEW))
            of_its_agent = [service for service in share("c", NEW) if service in SERVICES[0::2]]
            others = sorted(set(SERVICES) - set(of_its_agent))
            wait_until(
                lambda: (held(whole, "c"), sorted(held(whole, "a") + held(whole, "b"))) == (of_its_agent, others),
                "the services of its agent moved, and left nothing behind",
                timeout_s=20,
            )
            enough = reader.asked + 50
            wait_until(lambda: reader.asked >= enough, "both replicas are asked for all")
            replicas[1].start(url(whole, NEW))
            wait_until(
                lambda: [held(whole, shard) for shard in NEW] == [share(shard, NEW) for shard in NEW],
                "every shard holds its share and no more",
                timeout_s=30,
            )
            enough = reader.asked + 50
            wait_until(lambda: reader.asked >= enough, "all are asked for again")
            guards = [get_json(f"{replica.url}/guard")["phase"] for replica in replicas]
        say(f"shard added: {len(share('c', NEW))} of {len(SERVICES)} services moved, {reader.asked} answers meanwhile")
        assert share("c", NEW)
        assert reader.wrong == []
        assert guards == ["clear", "clear"]
