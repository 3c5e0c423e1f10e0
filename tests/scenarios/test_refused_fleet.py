"""A registry that comes back empty and with another secret refuses the whole fleet, and nothing becomes unknown.

A refusal is no absence: every agent keeps what it knows and answers for its own service, both sides say what is wrong,
and the registry is not ready, however long ago it started.
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dnslib

from tests.programs import VERTICE, Program, free_port, running, wait_until
from tests.scenarios.two_releases import ask

SECRET, OTHER = "the-fleets-own-secret", "quite-another-secret"
# Shorter than the 60 s of a real registry, and long enough for agents on a busy machine to come back before its end.
WARMING_S = 20.0


@contextlib.contextmanager
def registry(folder: Path, port: int, secret: str, warming_s: float = 0.0) -> Iterator[Program]:
    argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
    settings = {"REGISTRY_SECRET": secret, "REGISTRY_WARMING": str(warming_s)}
    with running(argv, folder / f"registry-{secret}.log", settings) as program:
        wait_until(lambda: ask(port, "GET", "/ready")[0] == 200, "the registry is ready")
        yield program


class Agent:
    """A running agent, and the service that it registers."""

    def __init__(self, program: Program, name: str, http: int, dns: int) -> None:
        self.program, self.name, self.http, self._dns = program, name, http, dns

    def get(self, path: str) -> tuple[int, Any]:
        status, body = ask(self.http, "GET", path)
        return status, body

    def rcode(self, name: str, qtype: str = "A") -> str:
        """Return the rcode of a name of the zone, with the number of its records."""
        question = dnslib.DNSRecord.question(f"{name}.vertice.internal", qtype)
        answer = dnslib.DNSRecord.parse(question.send("127.0.0.1", self._dns, timeout=5))
        return f"{dnslib.RCODE[answer.header.rcode]} {len(answer.rr)}"

    def finds(self, name: str) -> list[Any]:
        """Return what each face says of a service: DNS, HTTP, and the list of all services."""
        return [
            self.rcode(name),
            self.rcode(f"_{name}._tcp", "SRV"),
            self.get(f"/services/{name}")[0],
            self.get(f"/resolve/{name}")[0],
            name in (self.get("/services")[1] or ()),
        ]

    def metric(self, name: str) -> str:
        lines = self.metrics().splitlines()
        return next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} "))

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=5) as response:
            text: str = response.read().decode()
            return text


FOUND = ["NOERROR 1", "NOERROR 1", 200, 200, True]
UNKNOWN = ["SERVFAIL 0", "SERVFAIL 0", 503, 503, False]


@contextlib.contextmanager
def agent(folder: Path, name: str, host: str, registry_port: int) -> Iterator[Agent]:
    http, dns = free_port(), free_port()
    settings = {
        "REGISTRY_URL": f"http://127.0.0.1:{registry_port}",
        "VERTICE_REGISTRY_TOKEN": SECRET,
        "SERVICE_NAME": name,
        "SERVICE_HOST": host,
        "SERVICE_PORT": "8034",
        "AGENT_CHECK": "none",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns}",
        "AGENT_DRAIN_WAIT": "0",
    }
    with running([*VERTICE, "agent"], folder / f"{name}.log", settings) as program:
        wait_until(lambda: ask(http, "GET", "/live")[0] == 200, "the agent answers")
        yield Agent(program, name, http, dns)


def refused(one: Agent) -> bool:
    return "heartbeats_refused" in one.program.output() or '"refused"' in one.program.output()


def test_a_fleet_that_is_refused_stays_known_and_everybody_says_why(tmp_path: Path) -> None:
    port = free_port()
    with contextlib.ExitStack() as stack:
        with registry(tmp_path, port, SECRET):
            fleet = [
                stack.enter_context(agent(tmp_path, name, f"127.88.0.{number}", port))
                for number, name in enumerate(("billing", "geo"), 1)
            ]
            for one in fleet:
                wait_until(lambda one=one: one.finds("billing") == one.finds("geo") == FOUND, "both are found")  # type: ignore[misc]
                wait_until(lambda one=one: one.get("/health")[1]["status"] == "healthy", "it is healthy")  # type: ignore[misc]
        replica = stack.enter_context(registry(tmp_path, port, OTHER, WARMING_S))
        late = stack.enter_context(agent(tmp_path, "mailer", "127.88.0.3", port))
        for one in (*fleet, late):
            wait_until(lambda one=one: refused(one), "it is refused", timeout_s=40)  # type: ignore[misc]
            wait_until(lambda one=one: bool(one.get("/health")[1]["components"]["sync"]["connected"]), "it follows")  # type: ignore[misc]
        wait_until(
            lambda: ask(port, "GET", "/health")[1]["uptime_seconds"] > WARMING_S + 1,
            "it would have been ready, had it not refused them",
            timeout_s=2 * WARMING_S,
            every_s=0.5,
        )

        for one in fleet:
            assert (one.finds("billing"), one.finds("geo")) == (FOUND, FOUND), one.name
        assert late.finds("mailer") == FOUND, "its own"
        assert late.finds("billing") == UNKNOWN, "it was never told of it, and is not told that there is none"
        for one in (*fleet, late):
            health = one.get("/health")[1]
            assert health["status"] == "degraded"
            assert any(one.name in reason and "its secret is another" in reason for reason in health["reasons"]), health
            said = one.get("/self")[1]
            assert (said["status"], said["services"][0]["refused"]) == ("degraded", True)
            assert (one.metric("agent_refused_services"), one.metric("agent_healthy")) == ("1.0", "0.0")

        health = ask(port, "GET", "/health")[1]
        assert (health["status"], health["state"], health["active_services"]) == ("degraded", "warming", 0)
        assert "every write is refused" in health["reasons"][0]
        lines = [json.loads(line) for line in replica.output().splitlines() if "every write is refused" in line]
        assert [line["level"] for line in lines] == ["error"]
        assert ask(port, "GET", "/services/billing")[0] == 503
