"""The faults: each breaks something of the deployment, names the alerts that it must fire, and heals it.

A fault is a context manager: inside it, the thing is broken. Those that need a program of their own beside the
deployment are in `tests/observed/sides.py`.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

from tests.observed.deployment import Deployment, Restartable
from tests.observed.prometheus import ObservingPrometheus
from tests.programs import wait_until
from tests.redis_topology import RedisServer

# How long an alert may take to fire, and to end, on a busy machine; nothing is measured by it.
FIRES_S: Final = 90.0
ENDS_S: Final = 120.0


class Scene:
    """What a fault is given: the deployment, the Prometheus, a folder of its own, and what is to be done afterwards."""

    def __init__(self, deployment: Deployment, prometheus: ObservingPrometheus, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.deployment = deployment
        self.prometheus = prometheus
        self.folder = folder
        self._later = contextlib.ExitStack()

    def after(self, *work: Callable[[], object]) -> None:
        """Do this once the alerts have ended, what came last first."""
        for each in reversed(work):
            self._later.callback(each)

    def end(self) -> None:
        """Do what was left for the end."""
        self._later.close()

    def until_fires(self, *alerts: str) -> None:
        """Wait until each of these alerts has fired."""
        waiting = set(alerts)

        def fired() -> bool:
            waiting.difference_update(self.prometheus.firing())
            return not waiting

        try:
            wait_until(fired, "they fire", timeout_s=FIRES_S, every_s=0.5)
        except AssertionError:
            raise AssertionError(f"not firing within {FIRES_S} s: {', '.join(sorted(waiting))}") from None

    def until_ended(self, *alerts: str) -> None:
        """Wait until none of these alerts fires."""
        wanted = set(alerts)
        wait_until(
            lambda: not wanted & self.prometheus.firing(), f"ended: {', '.join(alerts)}", timeout_s=ENDS_S, every_s=0.5
        )

    @contextlib.contextmanager
    def asking(self, url: str) -> Iterator[None]:
        """Ask an agent something again and again; what it answers does not matter."""
        done = threading.Event()

        def ask() -> None:
            while not done.wait(0.05):
                with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
                    answer.read()

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


class ObservedFault(NamedTuple):
    """One fault, and the alerts that must fire while it lasts, and end after it."""

    name: str
    breaks: Callable[[Scene], AbstractContextManager[None]]
    alerts: tuple[str, ...]


@contextlib.contextmanager
def _killed(*programs: Restartable) -> Iterator[None]:
    for each in programs:
        each.kill()
    try:
        yield
    finally:
        for each in programs:
            each.start()


@contextlib.contextmanager
def replica_away(scene: Scene) -> Iterator[None]:
    """Kill a replica; its zone has another one."""
    with _killed(scene.deployment.replicas[1]):
        yield


@contextlib.contextmanager
def zone_away(scene: Scene) -> Iterator[None]:
    """Kill the only replica of a zone."""
    with _killed(scene.deployment.replicas[2]):
        yield


@contextlib.contextmanager
def most_away(scene: Scene) -> Iterator[None]:
    """Kill all replicas but one: nobody countersigns its audit log."""
    with _killed(*scene.deployment.replicas[1:]):
        yield


@contextlib.contextmanager
def registry_away(scene: Scene) -> Iterator[None]:
    """Kill all replicas: agents answer from memory, and their views age."""
    with _killed(*scene.deployment.replicas):
        yield


def _masters(scene: Scene) -> list[RedisServer]:
    return scene.deployment.redis.shards[0].masters()


def _has_one_master_with_copies(scene: Scene, copies: int = 2) -> bool:
    masters = _masters(scene)
    return len(masters) == 1 and str(masters[0].ask("INFO", "replication")).count("state=online") == copies


@contextlib.contextmanager
def redis_master_killed(scene: Scene) -> Iterator[None]:
    """Kill the master: the Sentinels promote a replica."""
    (master,) = _masters(scene)
    master.kill()
    try:
        wait_until(lambda: _has_one_master_with_copies(scene, 1), "another master is there", timeout_s=30, every_s=0.1)
        yield
    finally:
        master.start()
        wait_until(lambda: _has_one_master_with_copies(scene), "the old master follows", timeout_s=60, every_s=0.2)


@contextlib.contextmanager
def redis_copies_killed(scene: Scene) -> Iterator[None]:
    """Kill both Redis replicas: the master takes no writes, since they would be lost with it."""
    shard = scene.deployment.redis.shards[0]
    copies = [node for node in shard.nodes if not node.is_master()]
    for node in copies:
        node.kill()
    try:
        yield
    finally:
        for node in copies:
            node.start()
        wait_until(lambda: _has_one_master_with_copies(scene), "both follow again", timeout_s=60, every_s=0.2)


@contextlib.contextmanager
def redis_stands_still(scene: Scene) -> Iterator[None]:
    """Stop every Redis and Sentinel for a while: views age, writes fail, breakers open."""
    servers = scene.deployment.redis.servers
    for server in servers:
        server.pause()
    try:
        yield
    finally:
        for server in servers:
            server.resume()
        wait_until(lambda: _has_one_master_with_copies(scene), "the shard is whole", timeout_s=60, every_s=0.2)


@contextlib.contextmanager
def redis_slow(scene: Scene) -> Iterator[None]:
    """Stop the master for a quarter of a second again and again, which is too short for a failover."""
    (master,) = _masters(scene)
    done = threading.Event()

    def stutter() -> None:
        while not done.wait(0.15):
            master.pause()
            done.wait(0.25)
            master.resume()

    stuttering = threading.Thread(target=stutter)
    stuttering.start()
    try:
        yield
    finally:
        done.set()
        stuttering.join()
        master.resume()


@contextlib.contextmanager
def instances_silent(scene: Scene) -> Iterator[None]:
    """End the load, which renews more than half of the instances: their leases end together, and the guard holds."""
    scene.deployment.end_load()
    try:
        yield
    finally:
        scene.deployment.start_load()


@contextlib.contextmanager
def agent_away(scene: Scene) -> Iterator[None]:
    """Kill an agent."""
    with _killed(scene.deployment.agents[-1]):
        yield


@contextlib.contextmanager
def resolver_away(scene: Scene) -> Iterator[None]:
    """End the resolver that agents forward to."""
    assert scene.deployment.resolver is not None
    scene.deployment.resolver.stop()
    try:
        yield
    finally:
        scene.deployment.start_resolver()


@contextlib.contextmanager
def snapshot_not_written(scene: Scene) -> Iterator[None]:
    """Lay a read-only disk over an agent's state folder, and change what it would write."""
    agent = scene.deployment.agents[0]
    state = scene.deployment.folder / f"{agent.name}-state"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(state)], check=True, timeout=10)
    try:
        scene.deployment.change_something()
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(state)], check=True, timeout=10)
        scene.deployment.change_something()


FAULTS: Final[tuple[ObservedFault, ...]] = (
    ObservedFault("replica away", replica_away, ("RegistryReplicaAway",)),
    ObservedFault("zone away", zone_away, ("ZoneAway", "RegistryReplicaAway")),
    ObservedFault("most replicas away", most_away, ("RegistryFewReplicasAnswer", "AuditNotCountersigned")),
    ObservedFault(
        "registry away",
        registry_away,
        (
            "RegistryDown",
            "AgentWithoutRegistry",
            "AgentViewOld",
            "AvailabilityBurnsFast",
            "AvailabilityBurnsSlowly",
            "AvailabilityBelowObjective",
        ),
    ),
    ObservedFault("Redis master killed", redis_master_killed, ()),
    ObservedFault("Redis replicas killed", redis_copies_killed, ("RedisWithoutASecondCopy",)),
    ObservedFault(
        "Redis stands still", redis_stands_still, ("RegistryViewOld", "RegistryUnhealthy", "RegistryCannotWrite")
    ),
    ObservedFault("Redis slow", redis_slow, ("RegistryRedisIsSlow", "RegistrySlow")),
    ObservedFault("instances silent", instances_silent, ("RegistryHoldsBackAMassExpiry",)),
    ObservedFault("agent away", agent_away, ("AgentAway",)),
    ObservedFault("resolver away", resolver_away, ("AgentForwardersFail",)),
    ObservedFault("snapshot not written", snapshot_not_written, ("AgentSnapshotOld",)),
)
