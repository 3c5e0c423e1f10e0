"""A compose file that is up for the duration of a `with`, under its own project name, and queries to it."""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import dnslib

from tools.engine import ROOT, Engine

COMPOSE: Final = ROOT / "compose"
TAG: Final = "compose-test"
PYTHON: Final = "docker.io/library/python:3.13-slim"


class Topology:
    """One compose project."""

    def __init__(self, engine: Engine, file: Path, env: Mapping[str, str]) -> None:
        self.engine = engine
        self.file = file
        self.project = f"vertice-test-{secrets.token_hex(4)}"
        self.env = {"VERTICE_TAG": TAG, **env}

    def up(self, *services: str, timeout_s: float = 120) -> None:
        """Start the named services, or all."""
        words = ("up", "-d", "--no-build", *services)
        self.engine.compose(self.file, self.project, *words, env=self.env, timeout_s=timeout_s)

    def down(self) -> None:
        """Remove everything of this project, and of no other: containers, volumes and networks."""
        label = f"label=com.docker.compose.project={self.project}"
        left = self.engine.run("ps", "-aq", "--filter", label).split()
        mounts = [mount for container in left for mount in self.engine.inspect(container)["Mounts"]]
        volumes = {str(mount["Name"]) for mount in mounts if mount.get("Type") == "volume"}
        # Not with compose, which stops containers one after the other; clean stops are tested elsewhere. A container
        # that its restart policy has just restarted needs a second try.
        for _ in range(3):
            if not left:
                break
            self.engine.run("stop", "-t", "0", *left, check=False)
            depend = () if self.engine.is_docker else ("--depend",)
            self.engine.run("rm", "-f", "-v", *depend, *left, check=False)
            left = self.engine.run("ps", "-aq", "--filter", label).split()
        assert not left, f"could not be removed: {left}"
        networks = self.engine.run("network", "ls", "-q", "--filter", label).split()
        if networks:
            self.engine.run("network", "rm", *networks, check=False)
        if volumes:
            self.engine.run("volume", "rm", "-f", *volumes, check=False)

    def container(self, service: str) -> str:
        """Return the name of a service's only container."""
        found = self.engine.run(
            *("ps", "-a", "--format", "{{.Names}}"),
            *("--filter", f"label=com.docker.compose.project={self.project}"),
            *("--filter", f"label=com.docker.compose.service={service}"),
        ).split()
        assert len(found) == 1, f"{service}: {found}"
        return found[0]

    def command(self, verb: str, service: str, *words: str, timeout_s: float = 60) -> str:
        """Run `docker VERB ... CONTAINER`: start, stop, restart, kill, logs."""
        return self.engine.run(verb, *words, self.container(service), timeout_s=timeout_s)

    def run(self, service: str, *argv: str) -> str:
        """Run a program in a service's container and return its output. Raises EngineFailed."""
        return self.engine.run("exec", self.container(service), *argv)

    def address(self, service: str) -> str:
        return self.engine.address(self.container(service))

    def is_running(self, service: str) -> bool:
        return bool(self.engine.inspect(self.container(service))["State"]["Running"])

    def log(self, service: str) -> str:
        return self.engine.logs(self.container(service))

    def seen_by(self, service: str, *names: str) -> list[str | None]:
        """Return what every program in that container gets for these names: an address, or None."""
        program = (
            "import socket, sys\n"
            "for name in sys.argv[1:]:\n"
            "    try: print(socket.gethostbyname(name))\n"
            "    except OSError: print('-')\n"
        )
        # So that a missing answer is known after a second.
        patience = ("-e", "RES_OPTIONS=timeout:1 attempts:1")
        said = self.engine.run("exec", *patience, self.container(service), "python", "-c", program, *names).split()
        return [None if word == "-" else word for word in said]


@contextlib.contextmanager
def running(engine: Engine, file: str, *services: str, **env: str) -> Iterator[Topology]:
    """Bring a file of compose/ up for the duration of a `with`."""
    topology = Topology(engine, COMPOSE / file, env)
    try:
        topology.up(*services)
        yield topology
    finally:
        topology.down()


def get(url: str, *, timeout_s: float = 5, tls: ssl.SSLContext | None = None) -> Any:
    """Return the JSON of an answer with status 200, or None for any other."""
    with (
        contextlib.suppress(OSError, ValueError),
        urllib.request.urlopen(url, timeout=timeout_s, context=tls) as answer,
    ):
        return json.load(answer)
    return None


def send(
    method: str,
    url: str,
    body: Mapping[str, Any],
    *,
    token: str,
    timeout_s: float = 10,
    tls: ssl.SSLContext | None = None,
) -> int:
    """Send a request with a JSON body; return the status, or 0 when there was no answer."""
    headers = {"Content-Type": "application/json", "X-Registry-Token": token}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s, context=tls) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def instances(registry: str, service: str, *, tls: ssl.SSLContext | None = None) -> dict[str, str]:
    """Return the status of each instance of a service by address, from a registry; empty when there is none."""
    scheme = "http" if tls is None else "https"
    found = get(f"{scheme}://{registry}/services/{service}", tls=tls) or {"instances": []}
    return {address: one["status"] for one in found["instances"] for address in one["addresses"] or [one["host"]]}


def dns_addresses(server: str, name: str, *, port: int = 53) -> list[str]:
    """Query a DNS server for the A records of a name; return them sorted, or nothing when it does not answer."""
    question = dnslib.DNSRecord.question(name, "A")
    try:
        answer = dnslib.DNSRecord.parse(question.send(server, port, timeout=2))
    except (OSError, dnslib.DNSError):
        return []
    return sorted(str(record.rdata) for record in answer.rr if record.rtype == dnslib.QTYPE.A)
