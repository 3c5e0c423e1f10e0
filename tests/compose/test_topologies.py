"""The compose files, running: the smallest system, and the registry with all its parts while a Redis is killed."""

from __future__ import annotations

import contextlib
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from tests.compose.topology import COMPOSE, TAG, Topology, dns_addresses, get, instances, running, send
from tests.programs import free_port, wait_until
from tools.engine import Engine, EngineFailed

pytestmark = pytest.mark.timeout(300)

# The files with our services; the example of `vertice dev` is wrong on purpose.
TOPOLOGIES = sorted({*COMPOSE.glob("*.yml"), *(COMPOSE / "recipes").glob("*.yml")} - {COMPOSE / "example.yml"})
SECRET = "s3cret"  # not one: for containers that live for a minute
SHARDS = "abc"
# How long a writer retries after a 503, as agents do.
GIVES_UP_S = 12.0


def last_line(topology: Topology, service: str) -> str:
    return ["", *topology.log(service).splitlines()][-1]


def test_the_smallest_system_resolves_names_and_survives_its_registry(
    engine: Engine, images: dict[str, str], measured: Callable[[str], None]
) -> None:
    port = free_port()
    began = time.monotonic()
    gateway = {} if engine.is_docker else {"ENGINE_DNS": "172.28.52.1"}
    with running(engine, "dev.yml", REGISTRY_PORT=str(port), **gateway) as dev:
        wait_until(lambda: "hello from" in last_line(dev, "consumer"), "the consumer finds the service", timeout_s=60)
        measured(f"dev.yml: {time.monotonic() - began:.1f} s from `up` to the consumer's first good answer")
        assert instances(f"127.0.0.1:{port}", "hello") == {dev.address("hello"): "passing"}
        for agent in ("hello-agent", "consumer-agent"):
            dev.run(agent, "vertice", "doctor")  # an error that it finds is a failure
        dev.command("kill", "registry")
        lines = len(dev.log("consumer").splitlines())
        wait_until(lambda: len(dev.log("consumer").splitlines()) >= lines + 5, "it goes on", timeout_s=30)
        after = dev.log("consumer").splitlines()[lines:]
        assert all("hello from" in line for line in after), after
        dev.command("start", "registry")
        wait_until(
            lambda: instances(f"127.0.0.1:{port}", "hello") == {dev.address("hello"): "passing"},
            "a registry that comes back empty is told again",
            timeout_s=30,
        )


class Load:
    """Writes and lookups through nginx, one after the other, for the duration of a `with`.

    A write that gets a 503 is retried, as an agent does, until it is acknowledged or takes too long.
    """

    def __init__(self, registry: str, agent: str, tls: ssl.SSLContext) -> None:
        self.acknowledged: dict[str, str] = {}
        self.put_off = 0
        self.refused: list[str] = []
        self.missed: list[str] = []
        self.lookups = 0
        self.worst_s = 0.0
        self._registry = registry
        self._agent = agent
        self._tls = tls
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._write), threading.Thread(target=self._look_up)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def _write(self) -> None:
        for n in range(10_000):
            # Many names, so that each shard gets its share.
            service, host = f"load-{n % 60}", f"10.77.{n // 250}.{n % 250 + 1}"
            body = {"service_name": service, "host": host, "port": 8080, "health_endpoint": "/health"}
            began = time.monotonic()
            while (status := self._sent(body)) == 503 and time.monotonic() - began < GIVES_UP_S:
                self.put_off += 1
                time.sleep(0.1)
            took_s = time.monotonic() - began
            self.worst_s = max(self.worst_s, took_s)
            if status == 201:
                self.acknowledged[host] = service
            else:
                self.refused.append(f"{service} {host}: {status} after {took_s:.1f} s")
            if self._over.wait(0.02):
                return

    def _sent(self, body: dict[str, object]) -> int:
        return send("POST", f"https://{self._registry}/register", body, token=SECRET, timeout_s=20, tls=self._tls)

    def _look_up(self) -> None:
        while not self._over.wait(0.02):
            self.lookups += 1
            if not instances(self._registry, "hello", tls=self._tls):
                self.missed.append(f"HTTP, at {time.monotonic():.1f}")
            if dns_addresses(self._agent, "hello.vertice.internal") != ["10.1.1.1"]:
                self.missed.append(f"DNS, at {time.monotonic():.1f}")


def trusting(topology: Topology) -> ssl.SSLContext:
    """Return a TLS context that trusts the authority of a topology, once that exists."""

    def bundle() -> str:
        with contextlib.suppress(EngineFailed):
            return topology.run("registry-1", "cat", "/certificates/trust.crt")
        return ""

    wait_until(lambda: "END CERTIFICATE" in bundle(), "there are certificates", timeout_s=60)
    return ssl.create_default_context(cadata=bundle())


@contextlib.contextmanager
def an_agent(topology: Topology, registry: str) -> Iterator[str]:
    """Run an agent that only resolves, in the topology's network; yield its address."""
    engine = topology.engine
    name = f"{topology.project}-agent"
    settings = [
        f"REGISTRY_URL={registry}",
        "REGISTRY_CA=/certificates/trust.crt",
        "AGENT_DNS_ALLOW=0.0.0.0/0",
        "AGENT_DNS_RATE_LIMIT=0",
    ]
    engine.run(
        *("run", "-d", "--name", name, "--network", f"{topology.project}_default"),
        *("--sysctl", "net.ipv4.ip_unprivileged_port_start=0"),
        *("-v", f"{topology.project}_certificates:/certificates:ro"),
        *(word for setting in settings for word in ("-e", setting)),
        f"vertice-agent:{TAG}",
    )
    try:
        yield engine.address(name)
    finally:
        engine.remove(name)


def test_the_registry_survives_a_redis_master_without_losing_a_write_or_failing_a_lookup(
    engine: Engine, images: dict[str, str], measured: Callable[[str], None]
) -> None:
    registry = f"127.0.0.1:{(port := free_port())}"
    password = secrets.token_hex(8)
    began = time.monotonic()
    given = {"REDIS_PASSWORD": password, "REGISTRY_SECRET": SECRET, "CA_PASSPHRASE": password}
    with running(engine, "ha.yml", REGISTRY_PORT=str(port), **given) as ha:
        tls = trusting(ha)

        def replicas_are(state: str) -> bool:
            return all(
                (get(f"https://{ha.address(f'registry-{n}')}:8888/health", tls=tls) or {}).get("status") == state
                for n in range(1, 6)
            )

        def sentinel(*words: str) -> str:
            return ha.run("sentinel-1", "redis-cli", "-p", "26379", "-a", password, "--no-auth-warning", *words)

        def sentinels_know_all() -> bool:
            rows = [sentinel("sentinel", "master", shard).split() for shard in SHARDS]
            known = [dict(zip(row[::2], row[1::2], strict=False)) for row in rows]
            return all(
                (one["num-slaves"], one["num-other-sentinels"], one["flags"]) == ("2", "2", "master") for one in known
            )

        wait_until(lambda: replicas_are("healthy"), "every replica is healthy", timeout_s=60, every_s=0.5)
        wait_until(sentinels_know_all, "the Sentinels know every server", timeout_s=60, every_s=0.5)
        measured(f"ha.yml: {time.monotonic() - began:.1f} s from `up` to five healthy replicas")
        hello = {"service_name": "hello", "host": "10.1.1.1", "port": 8080, "health_endpoint": "/health"}
        assert send("POST", f"https://{registry}/register", hello, token=SECRET, tls=tls) == 201
        # A wrong secret is refused, also through nginx.
        assert send("POST", f"https://{registry}/register", hello, token="wrong", tls=tls) == 401

        with an_agent(ha, "https://nginx:8888") as agent:
            wait_until(lambda: dns_addresses(agent, "hello.vertice.internal") == ["10.1.1.1"], "the agent knows it")
            old = {shard: sentinel("sentinel", "get-master-addr-by-name", shard).split()[0] for shard in SHARDS}
            with Load(registry, agent, tls) as load:
                wait_until(lambda: len(load.acknowledged) > 50, "the load is under way", timeout_s=30)
                ha.command("kill", "redis-a1")
                killed_at = len(load.acknowledged)
                wait_until(
                    lambda: sentinel("sentinel", "get-master-addr-by-name", "a").split()[0] != old["a"],
                    "another Redis is master",
                    timeout_s=30,
                )
                wait_until(lambda: len(load.acknowledged) > killed_at + 120, "writes go on", timeout_s=30)
            measured(
                f"ha.yml, a Redis master killed: {len(load.acknowledged)} writes and {load.lookups} lookups, "
                f"{len(load.refused)} refused, {load.put_off} put off by 503, {len(load.missed)} missed; the slowest "
                f"write took {load.worst_s:.2f} s"
            )
            assert load.refused == []
            assert load.missed == []

        # Each replica keeps an audit, whose heads the other four sign.
        def audits() -> list[Any]:
            shown = [get(f"https://{ha.address(f'registry-{n}')}:8888/health", tls=tls) or {} for n in range(1, 6)]
            return [one.get("components", {}).get("audit", {}) for one in shown]

        wait_until(
            lambda: all(one.get("status") == "ok" and len(one["countersigned_by"]) == 4 for one in audits()),
            "every audit is countersigned by all others",
            timeout_s=60,
            every_s=0.5,
        )
        # Every acknowledged write is present at every replica.
        for n in range(1, 6):
            catalog = get(f"https://{ha.address(f'registry-{n}')}:8888/catalog", tls=tls)
            hosts = {one["host"] for one in catalog["instances"]}
            assert set(load.acknowledged) - hosts == set(), f"registry-{n}"
        # The old master comes back as a replica, from its own volume.
        ha.command("start", "redis-a1")

        def role() -> str:
            with contextlib.suppress(EngineFailed):  # as a former master it waits before it comes back
                return ha.run("redis-a1", "redis-cli", "-a", password, "--no-auth-warning", "role")
            return ""

        wait_until(lambda: role().startswith("slave"), "it follows", timeout_s=60, every_s=0.5)
        ha.command("restart", "redis-a1")
        wait_until(
            lambda: ha.run("redis-a1", "cat", "/data/redis.conf").count("\nreplicaof ") == 1, "it remembers whom"
        )


@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda file: file.name)
def test_compose_accepts_every_file(engine: Engine, file: Path) -> None:
    said = file.read_text(encoding="utf-8")
    given = {"REDIS_PASSWORD": "x", "REGISTRY_SECRET": "x", "CA_PASSPHRASE": "x", "GRAFANA_PASSWORD": "x"}
    topology = Topology(engine, file, given)
    taken = yaml.safe_load(engine.compose(file, topology.project, "config", env=topology.env))
    assert set(taken["services"]) == set(yaml.safe_load(said)["services"])


def test_a_password_must_be_set(engine: Engine) -> None:
    for missing in ("REDIS_PASSWORD", "REGISTRY_SECRET", "CA_PASSPHRASE"):
        given = {"REDIS_PASSWORD": "x", "REGISTRY_SECRET": "x", "CA_PASSPHRASE": "x", missing: ""}
        topology = Topology(engine, COMPOSE / "ha.yml", given)
        with pytest.raises(EngineFailed, match=missing):
            engine.compose(topology.file, topology.project, "config", env=topology.env)
