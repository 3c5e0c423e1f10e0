"""A registry and an agent for foreign programs to judge, in their own network if need be.

A foreign program that only reads /etc/resolv.conf needs a name server on port 53. So that no test needs the machine's
own, they run in a private network and mount namespace, which end with their first process: nothing is left behind,
even by a test that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.programs import VERTICE, Program, find, free_port, running, wait_until
from tests.scenarios.system import run

ZONE = "vertice.internal"
# How long a resolver may cache a record.
TTL_S = 5.0


class Ports(NamedTuple):
    """Where the registry and the agent listen."""

    registry: int
    http: int
    dns: int


def claim(name: str, host: str, port: int = 8034, **more: Any) -> dict[str, Any]:
    """Return the body that registers an instance."""
    return {"service_name": name, "host": host, "port": port, "instance_id": f"{host}:{port}", **more}


class Judged:
    """A registry and an agent, and the start of a command line that runs a program in their network."""

    registry: Program
    agent: Program

    def __init__(self, folder: Path, ports: Ports, inside: Sequence[str]) -> None:
        self.folder = folder
        self.ports = ports
        self.inside = list(inside)

    def run(self, *argv: str) -> str:
        """Run a program in their network and return its output. It must succeed."""
        return run([*self.inside, find(argv[0]), *argv[1:]])

    def attempt(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program in their network that may fail."""
        command = [*self.inside, find(argv[0]), *argv[1:]]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    @contextlib.contextmanager
    def program(self, *argv: str, log: str, env: Mapping[str, str] | None = None) -> Iterator[Program]:
        """Run a program in their network for the duration of a `with`; its output is shown when the test fails."""
        with running([*self.inside, find(argv[0]), *argv[1:]], self.folder / log, env) as program:
            try:
                yield program
            finally:
                sys.stdout.write(program.output())

    def get(self, url: str) -> Any:
        """Return the JSON at a URL of their network."""
        return json.loads(self.run("curl", "-sS", "--fail", "--max-time", "10", url))

    def register(self, *claims: dict[str, Any]) -> None:
        """Register instances, and wait until the agent knows them all."""
        self._call("POST", "register", [json.dumps(one) for one in claims])
        self._wait_until_known(claims, known=True)

    def deregister(self, *claims: dict[str, Any]) -> None:
        """Deregister instances, and wait until the agent knows it."""
        paths = [f"deregister/{one['service_name']}/{one['instance_id']}" for one in claims]
        for some in _parts(paths):
            urls = [f"http://127.0.0.1:{self.ports.registry}/{path}" for path in some]
            self.run("curl", "-sS", "--fail", "-X", "DELETE", "-o", os.devnull, *urls)
        self._wait_until_known(claims, known=False)

    def _call(self, method: str, path: str, bodies: Iterable[str]) -> None:
        url = f"http://127.0.0.1:{self.ports.registry}/{path}"
        for some in _parts(list(bodies)):
            argv: list[str] = []
            for body in some:
                argv += ["--next", "-sS", "--fail", "-X", method, "--json", body, "-o", os.devnull, url]
            self.run("curl", *argv[1:])

    def _wait_until_known(self, claims: Iterable[dict[str, Any]], *, known: bool) -> None:
        meant = {(one["service_name"], one["instance_id"]) for one in claims}
        wanted = meant if known else set()
        wait_until(lambda: meant & self._known({name for name, _ in meant}) == wanted, "the agent knows it")

    def _known(self, names: Iterable[str]) -> set[tuple[str, str]]:
        """Return which instances of these services the agent knows."""
        urls = [f"http://127.0.0.1:{self.ports.http}/services/{name}" for name in names]
        answers = [json.loads(line) for line in self.run("curl", "-sS", "-w", "\\n", *urls).splitlines()]
        return {(one["service_name"], i["instance_id"]) for one in answers for i in one.get("instances", ())}


def _parts(words: list[str]) -> Iterator[list[str]]:
    """Split items that would make a command line too long."""
    return (words[at : at + 100] for at in range(0, len(words), 100))


@contextlib.contextmanager
def judged(folder: Path, network: Sequence[str] | None = None) -> Iterator[Judged]:
    """Run a registry and an agent for the length of a `with`: on free ports, or on the usual ones of a `network`."""
    usual = network is not None
    ports = Ports(8888, 8880, 53) if usual else Ports(free_port(), free_port(), free_port())
    system = Judged(folder, ports, network or ())
    registry_settings = {
        "REGISTRY_LISTEN": f"127.0.0.1:{ports.registry}",
        "REGISTRY_WARMING": "0",
        # Nothing renews what a test registers, however long the tests take.
        "REGISTRY_LEASE_TTL": "3600",
    }
    agent_settings = {
        "REGISTRY_URL": f"http://127.0.0.1:{ports.registry}",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{ports.http}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{ports.dns}",
        # Queries here are for our names, or odd: none is for the resolvers of this machine.
        "AGENT_DNS_FORWARD": "none",
    }
    ready = f"http://127.0.0.1:{ports.http}/ready"
    with system.program(*VERTICE, "registry", log="registry.log", env=registry_settings) as system.registry:
        # An agent that starts before the registry tries again after a second.
        wait_until(lambda: "listening on" in system.registry.output(), "the registry listens")
        with system.program(*VERTICE, "agent", log="agent.log", env=agent_settings) as system.agent:
            wait_until(lambda: system.attempt("curl", "-sS", "--fail", ready).returncode == 0, "the agent is ready")
            yield system


@contextlib.contextmanager
def own_network(folder: Path, **files: str) -> Iterator[list[str]]:
    """Create a network with a loopback for the duration of a `with`; `files` are mounted over those in /etc.

    Yields the start of a command line that runs a program in it. Skips the test with the reason where the machine does
    not allow it.
    """
    mounts = []
    for name, text in files.items():
        at = folder / name
        at.write_text(text)
        mounts.append(f"mount --bind {at} /etc/{name.replace('_', '.')}")
    ready = folder / "network-is-up"
    # Without an address beyond loopback, resolvers that use AI_ADDRCONFIG query nothing.
    up = ["ip link set lo up", "ip address add 10.99.0.1/32 dev lo"]
    script = " && ".join([*up, *mounts, f"touch {ready}", "exec sleep infinity"])
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    argv = [find("unshare"), *user, "--net", "--mount", shutil.which("sh") or "/bin/sh", "-c", script]
    with running(argv, folder / "network.log") as program:
        wait_until(lambda: ready.exists() or program.process.poll() is not None, "the network is up")
        if program.process.poll() is not None:
            pytest.skip(f"no network namespace can be created here: {program.output().strip()}")
        into = ["--user", "--preserve-credentials"] if user else []
        yield [find("nsenter"), "--target", str(program.pid), *into, "--net", "--mount", "--wd", "--"]
