"""The DNS servers to compare, each with the same records on its own loopback port."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import struct
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.programs import VERTICE, accepts, find, free_port, running, wait_until

ZONE: Final = "vertice.internal"
PORT: Final = 8034


class DnsServerProcess(msgspec.Struct, frozen=True):
    """A running server: its process and its address."""

    name: str
    pid: int
    port: int


class BenchFleet(msgspec.Struct, frozen=True):
    """The names of the services; each has one instance."""

    names: tuple[str, ...]

    def label(self, number: int) -> str:
        return self.names[number].replace("_", "-").lower()

    def address(self, number: int) -> str:
        return f"10.100.{number // 250}.{number % 250 + 1}"

    def zone_file(self) -> str:
        """Return the records as a zone file for the other servers."""
        return "".join(
            f"{self.label(n)}.{ZONE}. 5 IN A {self.address(n)}\n"
            f"_{self.label(n)}._tcp.{ZONE}. 5 IN SRV 0 1 {PORT} {self.label(n)}.{ZONE}.\n"
            for n in range(len(self.names))
        )

    def questions(self) -> str:
        """Return one A and one SRV question per service in dnsperf's format."""
        return "".join(f"{self.label(n)}.{ZONE} A\n_{self.label(n)}._tcp.{ZONE} SRV\n" for n in range(len(self.names)))


@contextmanager
def echo(folder: Path) -> Iterator[DnsServerProcess]:
    """Run the bare echo."""
    port = free_port()
    with running([sys.executable, "-m", "bench.blocking_echo", str(port)], folder / "echo.log") as program:
        yield DnsServerProcess("a bare blocking Python echo", program.pid, port)


@contextmanager
def dnslib_server(folder: Path, fleet: BenchFleet) -> Iterator[DnsServerProcess]:
    """Run the server built with dnslib."""
    port, records = free_port(), folder / "records.zone"
    records.write_text(fleet.zone_file(), encoding="utf-8")
    argv = [sys.executable, "-m", "bench.dnslib_server", str(port), str(records)]
    with running(argv, folder / "dnslib.log") as program:
        yield _answering(DnsServerProcess("a plain dnslib server", program.pid, port), fleet)


@contextmanager
def dnsmasq(folder: Path, fleet: BenchFleet) -> Iterator[DnsServerProcess]:
    """Run dnsmasq with the fleet's records."""
    port, config = free_port(), folder / "dnsmasq.conf"
    head = (
        f"port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nlocal-ttl=5\n"
        f"local=/{ZONE}/\npid-file=\nuser={getpass.getuser()}\ncache-size=10000\n"
    )
    lines = [head]
    for n in range(len(fleet.names)):
        name = f"{fleet.label(n)}.{ZONE}"
        lines.append(
            f"host-record={name},{fleet.address(n)}\nsrv-host=_{fleet.label(n)}._tcp.{ZONE},{name},{PORT},0,1\n"
        )
    config.write_text("".join(lines), encoding="utf-8")
    with running([find("dnsmasq"), "-k", f"--conf-file={config}"], folder / "dnsmasq.log") as program:
        yield _answering(DnsServerProcess("dnsmasq", program.pid, port), fleet)


@contextmanager
def unbound(folder: Path, fleet: BenchFleet) -> Iterator[DnsServerProcess]:
    """Run unbound with one thread and the fleet's records as local data."""
    port, config = free_port(), folder / "unbound.conf"
    data = "".join(f"  local-data: '{line}'\n" for line in fleet.zone_file().splitlines())
    config.write_text(
        f"server:\n  interface: 127.0.0.1@{port}\n  do-daemonize: no\n  username: ''\n  chroot: ''\n  pidfile: ''\n"
        f"  directory: '{folder}'\n  use-syslog: no\n  num-threads: 1\n  so-rcvbuf: 4m\n  module-config: 'iterator'\n"
        f"  local-zone: '{ZONE}.' static\n{data}remote-control:\n  control-enable: no\n",
        encoding="utf-8",
    )
    with running([find("unbound"), "-d", "-c", str(config)], folder / "unbound.log") as program:
        yield _answering(DnsServerProcess("unbound", program.pid, port), fleet)


@contextmanager
def coredns_if_there(folder: Path, fleet: BenchFleet) -> Iterator[list[DnsServerProcess]]:
    """Run CoreDNS on one processor with the fleet's records as a zone file, where there is one on PATH."""
    program = shutil.which("coredns")
    if program is None:
        print("no coredns on PATH: no row for it")
        yield []
        return
    port, config, records = free_port(), folder / "Corefile", folder / "coredns.zone"
    head = f"{ZONE}. 5 IN SOA ns.{ZONE}. hostmaster.{ZONE}. 1 60 60 60 5\n{ZONE}. 5 IN NS ns.{ZONE}.\n"
    records.write_text(f"{head}ns.{ZONE}. 5 IN A 127.0.0.1\n{fleet.zone_file()}", encoding="utf-8")
    config.write_text(
        f"{ZONE}:{port} {{\n  bind 127.0.0.1\n  file {records}\n}}\n",
        encoding="utf-8",
    )
    argv = [program, "-conf", str(config), "-quiet"]
    with running(argv, folder / "coredns.log", {"GOMAXPROCS": "1"}) as server:
        yield [_answering(DnsServerProcess("CoreDNS", server.pid, port), fleet)]


@contextmanager
def agent(folder: Path, fleet: BenchFleet) -> Iterator[tuple[DnsServerProcess, str]]:
    """Run a registry and an agent that knows the fleet; yield the agent and the registry's URL."""
    registry_port, http_port, port = (free_port() for _ in range(3))
    url = f"http://127.0.0.1:{registry_port}"
    # Leases outlast the run, so that heartbeats do not affect the measurement.
    settings = {"REGISTRY_LEASE_TTL": "3600", "REGISTRY_WARMING": "1", "REGISTRY_LOG_LEVEL": "warning"}
    argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{registry_port}"]
    with running(argv, folder / "registry.log", settings):
        wait_until(lambda: accepts(registry_port), "the registry listens")
        for number in range(len(fleet.names)):
            register(url, fleet, number)
        argv = [*VERTICE, "agent", "--http-listen", f"127.0.0.1:{http_port}", "--dns-listen", f"127.0.0.1:{port}"]
        with running(argv, folder / "agent.log", {"REGISTRY_URL": url}) as program:
            yield _answering(DnsServerProcess("our agent", program.pid, port), fleet), url


def register(url: str, fleet: BenchFleet, number: int, weight: int = 1, instance_id: str = "one") -> None:
    """Register a service of the fleet, or change its weight. Raises OSError when the registry refuses it."""
    body = {
        "service_name": fleet.names[number],
        "instance_id": instance_id,
        "host": fleet.address(number),
        "port": PORT,
        "weight": weight,
    }
    request = urllib.request.Request(
        f"{url}/register", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        answer.read()


def _answering(server: DnsServerProcess, fleet: BenchFleet) -> DnsServerProcess:
    """Return `server` once it answers for the last service, so that the run measures real answers."""
    last = len(fleet.names) - 1
    wanted = socket.inet_aton(fleet.address(last))
    labels = b"".join(bytes([len(one)]) + one.encode() for one in f"{fleet.label(last)}.{ZONE}".split("."))
    query = struct.pack("!6H", 0x4242, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)

    def answers() -> bool:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.connect(("127.0.0.1", server.port))
            try:
                sock.send(query)
                return wanted in sock.recv(4096)
            except OSError:
                return False

    wait_until(answers, f"{server.name} answers")
    return server
