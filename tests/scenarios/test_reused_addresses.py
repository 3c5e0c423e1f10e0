"""Containers that are killed and come back at each other's addresses: each name leads to its own service again."""

from __future__ import annotations

import contextlib
import http.server
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.system import say
from tests.previous import THIS, Release
from tests.programs import Program, free_port, wait_until
from tests.scenarios.two_releases import Place, agent

NAMES: Final = [f"service-{number}" for number in range(1, 13)]
ADDRESSES: Final = [f"127.88.7.{number}" for number in range(1, 13)]
# How many of them get the address of another.
SWAPPED: Final = 8


class Containers:
    """Services behind addresses, each of which names itself. They may change places."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.at = dict(zip(ADDRESSES, NAMES, strict=True))

    def swap(self, seed: int) -> None:
        """Give SWAPPED of them the address of another one."""
        moving = random.Random(seed).sample(ADDRESSES, SWAPPED)
        services = [self.at[address] for address in moving]
        self.at |= dict(zip(moving, services[1:] + services[:1], strict=True))

    def config(self) -> str:
        """Return the settings of the agents beside them, as one file."""
        services = [
            f'[[service]]\nname = "{name}"\nhost = "{address}"\nport = {self.port}\n'
            for address, name in self.at.items()
        ]
        return "\n".join(services)


@contextlib.contextmanager
def containers() -> Iterator[Containers]:
    """Run the services for the duration of a `with`."""
    port = free_port()
    running = Containers(port)

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = running.at[self.connection.getsockname()[0]].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    servers = [http.server.ThreadingHTTPServer((address, port), Answers) for address in ADDRESSES]
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def reached(looker: Place, name: str) -> str:
    """Return which service a client reaches by a name; "" when it reaches none."""
    try:
        with urllib.request.urlopen(f"{looker.url}/resolve/{name}?format=url", timeout=5) as answer:
            url = answer.read().decode().strip()
        with urllib.request.urlopen(f"{url}/", timeout=5) as answer:
            service: str = answer.read().decode()
            return service
    except (OSError, urllib.error.URLError):
        return ""


def wrong(looker: Place) -> int:
    """Return how many names lead to another service than their own."""
    return sum(reached(looker, name) not in ("", name) for name in NAMES)


def right(looker: Place) -> int:
    return sum(reached(looker, name) == name for name in NAMES)


def time_until_right(folder: Path, release: Release, terms: Mapping[str, str], within_s: float) -> float:
    """Return the seconds from the swap of containers until each name leads to its own service."""
    with contextlib.ExitStack() as stack:
        services = stack.enter_context(containers())
        port = free_port()
        settings = {"REGISTRY_STORE": "memory:", "REGISTRY_WARMING": "0", **terms}
        registry = Place(folder, "registry", ["registry", "--listen", f"127.0.0.1:{port}"], settings, port)
        looker = agent(folder, "looker", [registry])
        for place in (looker, registry):
            stack.callback(place.stop)
        for place in (registry, looker):
            place.start(release)

        def beside(life: str) -> Program:
            """Start the agents beside the services. They keep no state, as in a container without a volume."""
            file = folder / f"{life}.toml"
            file.write_text(services.config())
            own = {
                "REGISTRY_URL": registry.url,
                "AGENT_CONFIG": str(file),
                "AGENT_HTTP_LISTEN": "127.0.0.1:0",
                "AGENT_DNS_LISTEN": "127.0.0.1:0",
                "AGENT_DNS_FORWARD": "none",
            }
            program = Program([*release.vertice, "agent"], folder / f"{life}.log", own)
            stack.callback(program.stop)
            return program

        before = beside("before")
        wait_until(lambda: right(looker) == len(NAMES), "each name leads to its service", timeout_s=60)
        before.process.kill()
        services.swap(seed=13)
        swapped_at = time.monotonic()
        beside("after")
        assert wrong(looker) == SWAPPED, "the registry still shows the dead ones"
        wait_until(lambda: right(looker) == len(NAMES), "each name leads to its service", timeout_s=within_s)
        return time.monotonic() - swapped_at


@pytest.mark.timeout(180)
def test_names_lead_to_their_services_soon_after_containers_swapped_their_addresses(tmp_path: Path) -> None:
    """With an hour until the leases of the dead ones end, a missed heartbeat is all that frees their addresses."""
    terms = {"REGISTRY_LEASE_TTL": "3600", "REGISTRY_HEARTBEAT_INTERVAL": "5"}
    took_s = time_until_right(tmp_path, THIS, terms, within_s=90)
    say(f"{SWAPPED} of {len(NAMES)} names led to other services, and all to their own after {took_s:.1f} s")
    refused = [json.loads(line) for line in (tmp_path / "after.log").read_text().splitlines() if '"refused"' in line]
    assert len(refused) == SWAPPED, "each of them was refused once"
    assert all("127.88.7." in line["details"]["holder"] for line in refused)
