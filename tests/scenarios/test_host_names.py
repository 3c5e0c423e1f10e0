"""Services and registries by name, and name servers that are slow or silent: no service is taken for dead."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.name_server import name_server, silent_server, why_not
from tests.programs import VERTICE, Program, free_port, running, wait_until
from tests.scenarios.two_releases import ask

if WHY_NOT := why_not():
    pytest.skip(f"NOT PROVEN HERE: {WHY_NOT}", allow_module_level=True)

# Each starts two programs, and waits for some hundred checks.
pytestmark = pytest.mark.timeout(180)

SERVICES = 100


class Well(http.server.BaseHTTPRequestHandler):
    """Answers every request with 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class WellServer(http.server.ThreadingHTTPServer):
    """Takes the checks of all services, which may come at once."""

    request_queue_size = 256


@contextlib.contextmanager
def services() -> Iterator[int]:
    """Run a service on one port of every loopback address for the duration of a `with`."""
    server = WellServer(("0.0.0.0", 0), Well)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def table(number: int, port: int) -> str:
    return f'[[service]]\nname = "svc-{number}"\nhost = "svc-{number}.example"\nport = {port}\n'


@contextlib.contextmanager
def system(folder: Path, within: tuple[str, ...], count: int, port: int) -> Iterator[tuple[int, int, Program]]:
    """Run a registry, and an agent with `count` services that finds everything by name. Yield both ports."""
    registry_port, http_port = free_port(), free_port()
    (folder / "agent.toml").write_text("\n".join(table(number, port) for number in range(count)))
    settings = {
        "REGISTRY_URL": f"http://registry.example:{registry_port}",
        "AGENT_CONFIG": str(folder / "agent.toml"),
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_DRAIN_WAIT": "0",
    }
    registry = [*VERTICE, "registry", "--listen", f"127.0.0.1:{registry_port}"]
    with running(registry, folder / "registry.log", {"REGISTRY_AUTH": "off", "REGISTRY_WARMING": "0"}):
        wait_until(lambda: ask(registry_port, "GET", "/ready")[0] == 200, "the registry is ready")
        with running([*within, *VERTICE, "agent"], folder / "agent.log", settings) as agent:
            yield registry_port, http_port, agent


def passing(registry_port: int) -> int:
    instances = ask(registry_port, "GET", "/catalog")[1]["instances"]
    return sum(one["status"] == "passing" and one["addresses"] != [] for one in instances)


def results(http_port: int, status: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(rf'agent_check_results_total{{kind="http",result="{status}"}} (\S+)', text)
    return int(float(found[1])) if found is not None else 0


def test_a_hundred_services_by_name_stay_passing_with_a_slow_name_server(tmp_path: Path) -> None:
    with services() as port, name_server(tmp_path, delay_s=0.3) as names:
        names.hosts = {f"svc-{number}.example": f"127.77.2.{number + 1}" for number in range(SERVICES)}
        names.hosts["registry.example"] = "127.0.0.1"
        with system(tmp_path, names.within, SERVICES, port) as (registry_port, http_port, agent):
            wait_until(lambda: passing(registry_port) == SERVICES, "all are registered", 60.0)
            enough = results(http_port, "passing") + 3 * SERVICES
            wait_until(lambda: results(http_port, "passing") >= enough, "three more checks of each", 60.0)
            assert passing(registry_port) == SERVICES
            assert results(http_port, "critical") == 0, agent.output()


def test_a_silent_name_server_takes_no_host_name_away(tmp_path: Path) -> None:
    with services() as port, silent_server() as silent, name_server(tmp_path, first=(silent,)) as names:
        names.hosts = {"svc-0.example": "127.77.2.1", "svc-1.example": "127.77.2.2", "registry.example": "127.0.0.1"}
        with system(tmp_path, names.within, 2, port) as (registry_port, http_port, agent):
            wait_until(lambda: passing(registry_port) == 2, "the second name server is asked soon", 30.0)
            assert results(http_port, "critical") == 0, agent.output()
            names.silent = True
            enough = results(http_port, "passing") + 6
            wait_until(lambda: results(http_port, "passing") >= enough, "the last addresses are checked", 60.0)
            assert results(http_port, "critical") == 0, agent.output()
            assert passing(registry_port) == 2
            # The last address of the registry serves new connections too.
            assert ask(registry_port, "DELETE", "/deregister/svc-0")[0] == 200
            wait_until(lambda: passing(registry_port) == 2, "it is registered again", 30.0)


# Prints the addresses that libc, or an agent, finds for the names of its command line.
BOTH = """
import asyncio, json, socket, sys
from agent.hosts.own_names import OwnNames
from dns.forward_rules import ForwardRules
from dns.forwarding import Forwarder
from registry_core.ports.clock import SystemClock
from registry_core.resolution import system_addresses
from registry_core.supervision import Background

def libc(host):
    try:
        return sorted(set(system_addresses(host)))
    except OSError:
        return []

async def ours(host):
    clock = SystemClock()
    background = Background(clock)
    new = lambda rules: Forwarder(rules, clock, background=background)
    rules = ForwardRules()
    names = OwnNames(
        new(rules), rules, new, zone="vertice.internal", clock=clock, background=background, most_lookups=8
    )
    await names.start()
    try:
        return sorted(await names.book.find(host))
    except OSError:
        return []
    finally:
        await names.close()
        await background.close()

print(json.dumps([libc(host) if sys.argv[1] == "libc" else asyncio.run(ours(host)) for host in sys.argv[2:]]))
"""
SEARCHES = {
    "none": "",
    "docker": "search corp.example\noptions ndots:0\n",
    "ndots": "search shop.svc.example svc.example\noptions ndots:3\n",
    "domain": "domain svc.example\n",
}


@pytest.mark.parametrize("search", SEARCHES)
def test_names_are_looked_up_as_libc_does(tmp_path: Path, search: str) -> None:
    with name_server(tmp_path) as names:
        names.hosts = {
            "orders": "10.0.0.1",
            "orders.corp.example": "10.0.0.2",
            "orders.shop.svc.example": "10.0.0.3",
            "billing.svc.example": "10.0.0.4",
            "billing.shop": "10.0.0.5",
            "billing.shop.svc.example": "10.0.0.6",
        }
        conf = tmp_path / "resolv.conf"
        conf.write_text(conf.read_text() + SEARCHES[search])
        hosts = ("orders", "billing", "billing.shop", "orders.corp.example", "billing.shop.")
        found: list[object] = []
        asked: list[list[str]] = []
        for who in ("libc", "agent"):
            names.asked.clear()
            argv = [*names.within, sys.executable, "-c", BOTH, who, *hosts]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
            found.append(json.loads(done.stdout))
            asked.append([name for name in dict.fromkeys(names.asked) if ".loop-check" not in name])
        assert found[0] == found[1]
        assert asked[0] == asked[1]
