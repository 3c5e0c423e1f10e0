"""`make gateways`: measures how each gateway of docs/guide/gateways.md follows a service; prints the guide's table.

usage: python -m tests.gateways.run [--rounds N] [GATEWAY...]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.gateways.gateways import GATEWAYS, SERVICE, Gateway, Ports
from tests.gateways.load import Load, load
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

# An instance is left when it has answered nothing for so long under some 35 requests a second for it.
QUIET_S: Final = 5.0
LIMIT_S: Final = 30.0
AWAY_S: Final = 15.0
HEADINGS: Final = ("", "added", "critical", "drained", "recovered", "a kill", "a rolling restart", "its agent away")


class Backend:
    """One instance of the service, and its agent: both are real programs, the agent with its default settings."""

    def __init__(self, host: str, port: int, registry: str, folder: Path) -> None:
        self.host, self.port, self._folder = host, port, folder
        self._settings = {
            "SERVICE_NAME": SERVICE,
            "SERVICE_HOST": host,
            "SERVICE_PORT": str(port),
            "REGISTRY_URL": registry,
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        }
        self.serve()

    @property
    def instance(self) -> str:
        return f"{self.host}:{self.port}"

    def serve(self) -> None:
        """Start the server."""
        argv = [sys.executable, "-m", "tests.scenarios.server", SERVICE, self.host, str(self.port)]
        self.server = Program(argv, self._folder / f"server-{self.host}.log")

    def accompany(self) -> None:
        """Start the agent."""
        self.agent = Program([*VERTICE, "agent"], self._folder / f"agent-{self.host}.log", self._settings)

    def kill(self) -> None:
        """Kill the server, not the agent."""
        self.server.signal(signal.SIGKILL)
        self.server.process.wait()

    def restart(self) -> None:
        """Stop the agent, which drains, and then the server; start both again."""
        self.agent.stop(timeout_s=30)
        self.server.stop()
        self.serve()
        self.accompany()

    def stop(self) -> None:
        self.agent.stop()
        self.server.stop()


def call(method: str, url: str, body: object) -> None:
    """Send one request to the registry, which must succeed."""
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10):
        pass


class System:
    """A registry, three instances with their agents, the gateway and its agent, and the load."""

    def __init__(
        self, registry: str, three: Sequence[Backend], fourth: Backend, beside: Callable[[], Program], requests: Load
    ) -> None:
        self._registry, self._three, self._fourth, self._load = registry, three, fourth, requests
        self._start_beside = beside
        self.beside = beside()

    def everybody_answers(self) -> None:
        """Wait until the gateway uses all three."""
        began = time.monotonic()
        for backend in self._three:
            self._load.used_after_s(backend.instance, began, 60)

    def during(self, change: Callable[[], None]) -> tuple[int, list[str]]:
        """Return how many requests ended while something changed, and how those that failed did."""
        asked, failed = self._load.asked(), len(self._load.failed)
        change()
        return self._load.asked() - asked, self._load.failed[failed:]

    def a_server_is_killed(self) -> None:
        self._three[0].kill()
        time.sleep(AWAY_S)

    def it_is_started_again(self) -> None:
        self._three[0].serve()
        self.everybody_answers()

    def all_are_restarted(self) -> None:
        for backend in self._three:
            backend.restart()
            self.everybody_answers()

    def the_agent_is_away(self) -> None:
        self.beside.stop()
        time.sleep(AWAY_S)
        self.beside = self._start_beside()
        time.sleep(QUIET_S)

    @staticmethod
    def _wait_any_time() -> None:
        """Begin at any moment between two of the gateway's queries: the one before ended at such a query."""
        time.sleep(random.uniform(0, 2))

    def seconds(self) -> list[float | None]:
        """Return the seconds until each change shows, from the registry's answer on, of one round."""
        fourth, registry = self._fourth, self._registry
        where = {"service_name": SERVICE, "host": fourth.host, "port": fourth.port}
        status = f"{registry}/status/{SERVICE}/{fourth.instance}"
        self._wait_any_time()
        call("POST", f"{registry}/register", where)
        added = self._load.used_after_s(fourth.instance, time.monotonic(), LIMIT_S)
        self._wait_any_time()
        call("PUT", status, {"status": "critical"})
        critical = self._load.left_after_s(fourth.instance, time.monotonic(), QUIET_S, LIMIT_S)
        self._wait_any_time()
        call("PUT", status, {"status": "passing"})
        recovered = self._load.used_after_s(fourth.instance, time.monotonic(), LIMIT_S)
        self._wait_any_time()
        call("PUT", status, {"status": "draining"})
        drained = self._load.left_after_s(fourth.instance, time.monotonic(), QUIET_S, LIMIT_S)
        call("DELETE", f"{registry}/deregister/{SERVICE}/{fourth.instance}", {})
        time.sleep(QUIET_S)
        return [added, critical, drained, recovered]


@contextlib.contextmanager
def system(gateway: Gateway, folder: Path) -> Iterator[System]:
    """Run everything for the duration of a `with`."""
    listen = free_port()
    registry = f"http://127.0.0.1:{listen}"
    ports = Ports(free_port(), free_port(), free_port(), free_port())
    looking = {
        "REGISTRY_URL": registry,
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{ports.agent_http}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{ports.agent_dns}",
    }
    with contextlib.ExitStack() as stack:
        central = {"REGISTRY_LISTEN": f"127.0.0.1:{listen}"}
        stack.enter_context(running([*VERTICE, "registry"], folder / "registry.log", central))
        wait_until(lambda: accepts(listen), "the registry listens")
        backends = [Backend(f"127.121.9.{number}", ports.service, registry, folder) for number in range(1, 5)]
        *three, fourth = backends
        for backend in three:
            backend.accompany()
            stack.callback(backend.stop)
        stack.callback(fourth.server.stop)
        for number, command in enumerate(gateway.commands(folder, ports)):
            stack.enter_context(running(command.argv, folder / f"gateway-{number}.log", command.env))
        wait_until(lambda: accepts(ports.gateway), "the gateway listens", timeout_s=30)
        requests = stack.enter_context(load(ports.gateway))
        whole = System(
            *(registry, three, fourth),
            lambda: Program([*VERTICE, "agent"], folder / "gateway-agent.log", looking),
            requests,
        )
        try:
            yield whole
        finally:
            whole.beside.stop()


def shown(seconds: Sequence[float | None]) -> str:
    """Return the median and the longest of all rounds."""
    known = [s for s in seconds if s is not None]
    if len(known) < len(seconds):
        return "never"
    return f"{statistics.median(known):.1f} ({max(known):.1f})"


def measured(gateway: Gateway, rounds: int, folder: Path) -> str:
    """Return the table's row of one gateway."""
    with system(gateway, folder) as fleet:
        fleet.everybody_answers()
        of_rounds = [fleet.seconds() for _ in range(rounds)]
        failures = [fleet.during(fleet.a_server_is_killed)]
        fleet.it_is_started_again()
        failures += [fleet.during(fleet.all_are_restarted), fleet.during(fleet.the_agent_is_away)]
    for _, failed in failures:
        for example in sorted(set(failed))[:5]:
            sys.stderr.write(f"{gateway.name}: {example}\n")
    columns = [shown(column) for column in zip(*of_rounds, strict=True)]
    return " | ".join([gateway.name, *columns, *(f"{len(failed):,} of {asked:,}" for asked, failed in failures)])


def main() -> int:
    """Print a row for each of the named gateways, or for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("gateways", nargs="*", metavar="GATEWAY", help=", ".join(g.name for g in GATEWAYS))
    args = parser.parse_args()
    chosen = [g for g in GATEWAYS if not args.gateways or g.name.casefold() in [n.casefold() for n in args.gateways]]
    if not chosen:
        parser.error("there is no such gateway")
    sys.stdout.write(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}\n")
    for gateway in chosen:
        with tempfile.TemporaryDirectory(prefix="vertice-gateways-") as folder:
            sys.stdout.write(f"| {measured(gateway, args.rounds, Path(folder))} |\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
