"""Redis comes back empty: the agents register again, and none of their answers turns empty."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.system import registry, say
from tests.programs import VERTICE, find, free_port, running, wait_until
from tests.redis_topology import redis_server

SERVICES = [f"service_{number}" for number in range(8)]
HOST = "127.77.0.9"
AGENT = {"AGENT_CHECK": "none", "AGENT_DRAIN_WAIT": "0", "HEARTBEAT_INTERVAL": "30"}


class Asking:
    """Queries an agent's DNS for every service in turn, until told to stop; records the failures."""

    def __init__(self, port: int) -> None:
        self.asked = 0
        self.failed: list[str] = []
        self._port = port
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def ask(self, service: str) -> str:
        words = [f"{service}.vertice.internal", "A", "+short", "+tries=1", "+timeout=2"]
        argv = [find("dig"), "@127.0.0.1", "-p", str(self._port), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout.strip()

    def _run(self) -> None:
        while not self._ended.wait(0.02):
            service = SERVICES[self.asked % len(SERVICES)]
            answer = self.ask(service)
            self.asked += 1
            if answer != HOST:
                self.failed.append(f"{service}: {answer!r}")

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Run the queries for the duration of a `with`."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join(15)


def test_agents_register_again_at_an_empty_redis_and_keep_answering(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    tables = [f'[[service]]\nname = "{s}"\nhost = "{HOST}"\nport = {7000 + n}\n' for n, s in enumerate(SERVICES)]
    config.write_text("\n".join(tables), encoding="utf-8")
    with redis_server(tmp_path / "redis") as redis, registry(tmp_path, redis.url) as replica:
        dns_port = free_port()
        settings = {
            **AGENT,
            "REGISTRY_URL": replica.url,
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{dns_port}",
        }
        asking = Asking(dns_port)
        with running([*VERTICE, "agent", "--config", str(config)], tmp_path / "agent.log", settings):
            wait_until(lambda: all(asking.ask(s) == HOST for s in SERVICES), "every service is found", timeout_s=30)
            with asking.going_on():
                redis.kill()
                redis.start()
                began = time.monotonic()
                # Nothing of the old Redis is left in the new one, and the next heartbeat is due in half a minute.
                wait_until(
                    lambda: len(redis.ask("HGETALL", "vertice:records")) == 2 * len(SERVICES), "all are told again"
                )
                took_s = time.monotonic() - began
                wait_until(lambda: sorted(replica.instances().values()) == SERVICES, "the replica shows them")
                enough = asking.asked + 3 * len(SERVICES)
                wait_until(lambda: asking.asked >= enough, "all are asked for again")
        say(f"redis restarted empty: all told again after {took_s:.2f} s, {asking.asked} DNS answers meanwhile")
        assert asking.failed == []
