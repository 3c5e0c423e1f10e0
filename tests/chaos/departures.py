"""Instances are deregistered while the master changes: after the acknowledgement no answer names them for long."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import dnslib

from tests.chaos.acknowledged import PATIENCE_S, SETTINGS, grown_old
from tests.chaos.fleet import Agent, agent
from tests.chaos.load import Result
from tests.chaos.system import Outcome, Registry, registry
from tests.programs import wait_until
from tests.redis_topology import Topology, topology

# More stay than leave, since removing half of a fleet triggers the guard.
STAYING: Final = {f"staying_{number}": f"127.78.1.{number + 1}" for number in range(80)}
LEAVING: Final = {f"leaving_{number}": f"127.78.2.{number + 1}" for number in range(60)}
# The fault happens among the first of them, and the last are deregistered after it.
EVERY_S: Final = 0.04
LOOK_EVERY_S: Final = 0.1
# How long an answer may name a deregistered instance, and for how long that is watched.
GONE_S: Final = 2.0
QUIET_S: Final = 3.0
WATCHED_S: Final = 25.0


class Departures:
    """Deregisters instances, and watches whether the registry and an agent that follows it still return them."""

    def __init__(self, replica: Registry, asked: Agent) -> None:
        self.acknowledged: dict[str, float] = {}  # service -> when
        self.refused = 0
        self.last_named: dict[str, tuple[float, str]] = {}  # service -> when it was last named after that, and where
        self._replica = replica
        self._faces: dict[str, Callable[[str, str], bool]] = {
            "the registry": lambda name, host: _http_names(replica.url, name, host),
            "the agent's HTTP": lambda name, host: _http_names(asked.url, name, host),
            "the agent's DNS": lambda name, host: _dns_names(asked.dns_port, name, host),
        }
        self._ended = threading.Event()

    def take_out(self, service: str) -> None:
        """Deregister one service; a refusal is retried, as agents do."""
        while not self._ended.is_set():
            request = urllib.request.Request(f"{self._replica.url}/deregister/{service}", method="DELETE")
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S):
                    pass
            except urllib.error.HTTPError as error:
                if error.code != 404:  # an earlier refused request did it
                    self.refused += 1
                    time.sleep(0.1)
                    continue
            self.acknowledged[service] = time.monotonic()
            return

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the answers for the duration of a `with`, and then until none has named a gone instance for a while."""
        watching = threading.Thread(target=self._watch)
        watching.start()
        try:
            yield
            ends = time.monotonic() + WATCHED_S
            while time.monotonic() < min(ends, self._named_at() + QUIET_S):
                time.sleep(LOOK_EVERY_S)
        finally:
            self._ended.set()
            watching.join(30)

    def _named_at(self) -> float:
        return max([*self.acknowledged.values(), *(at for at, _ in self.last_named.values())], default=0.0)

    def _watch(self) -> None:
        while not self._ended.is_set():
            for service in tuple(self.acknowledged):
                for face, names in self._faces.items():
                    asked_at = time.monotonic()
                    if names(service, LEAVING[service]):
                        self.last_named[service] = (asked_at, face)
            time.sleep(LOOK_EVERY_S)

    def named_for_s(self) -> dict[str, float]:
        """Return how long each service was still returned after its deregistration was acknowledged."""
        return {name: at - self.acknowledged[name] for name, (at, _) in self.last_named.items()}


def _http_names(url: str, service: str, host: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/services/{service}", timeout=5) as response:
            return f'"{host}"' in response.read().decode()
    except urllib.error.HTTPError as error:
        error.close()
        return False


def _dns_names(port: int, service: str, host: str) -> bool:
    question = dnslib.DNSRecord.question(f"{service.replace('_', '-')}.vertice.internal", "A")
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", port))
        sock.send(question.pack())
        return host in [str(record.rdata) for record in dnslib.DNSRecord.parse(sock.recv(4096)).rr]


def departures(folder: Path, seed: int, what: str, fault: Callable[[Topology], None]) -> Outcome:
    """Deregister services one after the other, with `fault` among them."""
    draw = random.Random(seed)
    with (
        topology(folder / "redis", persistent=True) as redis,
        registry(folder, redis.url, settings=SETTINGS) as replica,
        agent(folder, "asked", [], "127.78.3.1", urls=[replica.url], heartbeat_s=1.0) as asked,
    ):
        for service, host in (STAYING | LEAVING).items():
            replica.ask("POST", "/register", {"service_name": service, "host": host, "port": 8034})
        wait_until(lambda: asked.knows([*STAYING, *LEAVING]), "the agent knows every service")
        grown_old(redis)
        leaving = Departures(replica, asked)
        with leaving.watched(), ThreadPoolExecutor(len(LEAVING)) as pool:
            fault_at = draw.randrange(2, 8)
            for number, service in enumerate(LEAVING):
                if number == fault_at:
                    began = time.monotonic()
                    fault(redis)
                pool.submit(leaving.take_out, service)
                time.sleep(EVERY_S * draw.uniform(0.5, 1.5))
        left = [name for name in STAYING if not asked.knows([name])]
    result = Result(seed, began_at=began, writes=len(LEAVING))
    result.acknowledged = dict.fromkeys(leaving.acknowledged, "deregistered")
    broken = [f"{name} has not been deregistered" for name in LEAVING if name not in leaving.acknowledged]
    named_for_s = leaving.named_for_s()
    broken += [
        f"{name} was returned by {leaving.last_named[name][1]} for {seconds:.1f} s after its deregistration, "
        f"acknowledged at {leaving.acknowledged[name] - began:+.2f} s"
        for name, seconds in named_for_s.items()
        if seconds > GONE_S
    ]
    said = f"{leaving.refused} refused and retried, named for {max(named_for_s.values(), default=0.0):.1f} s at most"
    return Outcome(f"{what} while {len(LEAVING)} services are deregistered; {said}", result, left, broken)


def departures_in_a_planned_failover(folder: Path, seed: int) -> Outcome:
    """Let the Sentinels replace the master meanwhile."""
    return departures(folder, seed, "planned failover", _fail_over)


def departures_without_a_master(folder: Path, seed: int) -> Outcome:
    """Kill the master meanwhile."""
    return departures(folder, seed, "master killed", lambda redis: redis.shard("a").masters()[0].kill())


def _fail_over(redis: Topology) -> None:
    wait_until(lambda: redis.sentinels[0].ask("SENTINEL", "FAILOVER", "a") == "OK", "the Sentinels fail over")
