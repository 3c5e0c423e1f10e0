"""A machine with several addresses answers from the one that was asked, and `:PORT` is a port of both families.

The clients are in another network namespace, as other machines are; dig takes an answer from nobody but its server.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.networks import Networks, networks, why_not
from tests.programs import VERTICE, Program, find, running, wait_until

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"NOT PROVEN HERE: {WHY_NOT}")

DNS_PORT, HTTP_PORT, REGISTRY_PORT = 5300, 8880, 8888
# Two addresses of one interface in each family; the first of each is the one that its routes prefer.
SERVER = ("10.99.0.2", "10.99.0.3", "fd99::2", "fd99::3")
CLIENT = ("10.99.0.1", "fd99::1")
LOOPBACK = ("127.0.0.1", "::1")
# Serves one service and, late, `late.example`: each datagram in a system call of its own.
ONE_BY_ONE = """
import asyncio, sys
from dns.codec import Answer, Rcode
from dns.one_by_one_udp import OneByOne
from dns.udp import serve_udp
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import responder

class Late:
    def answer(self, query, message, asker=None):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, Answer(Rcode.NXDOMAIN, authoritative=False))
        return future

async def main():
    view = StandingView([instance("billing", "10.0.0.7")])
    server = responder(view, forwarder=Late(), allow_networks=("0.0.0.0/0", "::/0"))
    await serve_udp(server, "::", int(sys.argv[1]), exchange=OneByOne)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def nets() -> Iterator[Networks]:
    with networks() as built:
        for place, addresses in ((built.majority, SERVER), (built.minority, CLIENT)):
            for address in addresses:
                # Without duplicate address detection an IPv6 address is there at once.
                width = ("64", "nodad") if ":" in address else ("24",)
                argv = [*place.within, find("ip"), "address", "add", f"{address}/{width[0]}", "dev", "cable"]
                subprocess.run([*argv, *width[1:]], check=True, timeout=20)
        yield built


@pytest.fixture
def registry(nets: Networks, tmp_path: Path) -> Iterator[Program]:
    argv = [*nets.majority.within, *VERTICE, "registry", "--listen", f":{REGISTRY_PORT}"]
    with running(argv, tmp_path / "registry.log", {"REGISTRY_SECRET": "s" * 32, "REGISTRY_WARMING": "0.1"}) as program:
        yield program


@pytest.fixture
def agent(nets: Networks, registry: Program, tmp_path: Path) -> Iterator[Program]:
    settings = {
        "REGISTRY_URL": f"http://[::1]:{REGISTRY_PORT}",
        "VERTICE_REGISTRY_TOKEN": "s" * 32,
        "AGENT_DNS_LISTEN": f":{DNS_PORT}",
        "AGENT_HTTP_LISTEN": f":{HTTP_PORT}",
        "AGENT_DNS_ALLOW": "10.99.0.0/24,fd99::/64",
        "SERVICE_NAME": "billing",
        "SERVICE_HOST": "10.0.0.7",
        "SERVICE_PORT": "8034",
        "AGENT_CHECK": "none",
    }
    with running([*nets.majority.within, *VERTICE, "agent"], tmp_path / "agent.log", settings) as program:
        wait_until(
            lambda: "10.0.0.7" in dig(nets.majority.within, "127.0.0.1", "billing.vertice.internal"),
            "the agent knows its service",
        )
        # It answers its own service before the registry knows it.
        wait_until(
            lambda: "billing" in get(nets.majority.within, "127.0.0.1", REGISTRY_PORT, "/services"), "it is registered"
        )
        yield program


def dig(within: tuple[str, ...], server: str, *words: str) -> str:
    argv = [*within, find("dig"), f"@{server}", "-p", str(DNS_PORT), "+tries=1", "+time=2", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False).stdout


def get(within: tuple[str, ...], host: str, port: int, path: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    argv = [*within, find("curl"), "-sS", "-g", "--max-time", "5", f"http://{shown}:{port}{path}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def test_every_address_answers_over_udp_and_tcp_and_http(nets: Networks, agent: Program) -> None:
    asked = [*((nets.minority.within, host) for host in SERVER), *((nets.majority.within, host) for host in LOOPBACK)]
    for within, host in asked:
        for words in (("+notcp",), ("+tcp",), ("+notcp", "+noedns")):
            answer = dig(within, host, "billing.vertice.internal", *words)
            assert "10.0.0.7" in answer, (host, words, answer)
        assert "billing" in get(within, host, HTTP_PORT, "/services"), host
        assert "billing" in get(within, host, REGISTRY_PORT, "/services"), host
    assert "unexpected source" not in agent.output()


def test_one_by_one_and_late_answers_leave_from_the_address_that_was_asked(nets: Networks, tmp_path: Path) -> None:
    argv = [*nets.majority.within, sys.executable, "-c", ONE_BY_ONE, str(DNS_PORT)]
    with running(argv, tmp_path / "server.log") as server:
        wait_until(lambda: "ready" in server.output(), "the server listens")
        for host in SERVER:
            assert "10.0.0.7" in dig(nets.minority.within, host, "billing.vertice.internal"), host
            assert "NXDOMAIN" in dig(nets.minority.within, host, "late.example"), host


def test_a_machine_without_ipv6_listens_on_ipv4_alone(nets: Networks, tmp_path: Path) -> None:
    """`:PORT` asks for what there is. Here, ::1 is not there: it was turned off."""
    off = ("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    subprocess.run([*nets.majority.within, *off], check=True, timeout=20)
    settings = {"AGENT_DNS_LISTEN": f":{DNS_PORT}", "AGENT_HTTP_LISTEN": f"localhost:{HTTP_PORT}"}
    with running([*nets.majority.within, *VERTICE, "agent"], tmp_path / "agent.log", settings):
        wait_until(
            lambda: "status:" in dig(nets.majority.within, "127.0.0.1", "billing.vertice.internal"), "the agent answers"
        )
        assert "status:" in dig(nets.majority.within, "127.0.0.1", "billing.vertice.internal", "+tcp")
        assert "registry" in get(nets.majority.within, "127.0.0.1", HTTP_PORT, "/health")
