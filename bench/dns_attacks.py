"""Attacks on the DNS face of a real agent, and what a good neighbour sees of each.

The neighbour asks for a service of the fleet, and for new foreign names, each question from a socket of its own, as
stub resolvers do. A row shows its answers while the attack goes on, and how long the first one after the end takes.
Run as `python -m bench.dns_attacks [attack ...]`; it exits with 1 when a neighbour's p99 was over the goal.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import multiprocessing
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from bench import dns_servers
from bench.dns_servers import ZONE, BenchFleet
from cli.table import aligned
from tests.programs import VERTICE, accepts, free_port, running, wait_until

SERVICES: Final = 1000
CROWD: Final = 2000
GOAL_MS: Final = 50.0
# What a stub resolver waits for an answer.
PATIENCE_S: Final = 2.0
_BIG: Final = 2900  # addresses: 46 KB
_TYPES: Final = (1, 16, 28)


def query(name: str, qtype: int = 1, *, payload: int = 0, cookie: bytes = b"") -> bytes:
    """Return a query with a random id; `payload` is that of EDNS, 0 for none."""
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    head = struct.pack("!6H", random.getrandbits(16), 0x0100, 1, 0, 0, 1 if payload else 0)
    options = struct.pack("!2H", 10, len(cookie)) + cookie if cookie else b""
    opt = b"\0" + struct.pack("!HHIH", 41, payload, 0, len(options)) + options if payload else b""
    return head + labels + b"\0" + struct.pack("!2H", qtype, 1) + opt


def resolve(port: int) -> None:
    """Be a resolver: names below big.example have 46 KB of addresses, those below slow.example get no answer."""
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    udp.bind(("127.0.0.1", port))
    tcp = socket.create_server(("127.0.0.1", port), backlog=512)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4)
    big = b"".join(record + struct.pack("!I", 0x0A000000 + n) for n in range(_BIG))

    def question(message: bytes) -> bytes:
        return message[12 : message.index(0, 12) + 5]

    def over_tcp() -> None:
        while True:
            with suppress(OSError), tcp.accept()[0] as one:
                message = one.recv(int.from_bytes(one.recv(2, socket.MSG_WAITALL)), socket.MSG_WAITALL)
                answer = message[:2] + struct.pack("!5H", 0x8180, 1, _BIG, 0, 0) + question(message) + big
                one.sendall(struct.pack("!H", len(answer)) + answer)

    threading.Thread(target=over_tcp, daemon=True).start()
    while True:
        message, asker = udp.recvfrom(4096)
        asked = question(message)
        if b"\4slow" in asked.lower():
            continue
        flags, count, answers = (0x8380, 0, b"") if b"\3big" in asked.lower() else (0x8180, 1, record + b"\xc0\0\2\1")
        udp.sendto(message[:2] + struct.pack("!5H", flags, 1, count, 0, 0) + asked + answers, asker)


class DnsTarget(msgspec.Struct, frozen=True):
    """The attacked agent."""

    dns: int
    http: int
    address: str  # one beyond loopback, "" when this machine has none


def flood(target: DnsTarget, queries: Iterator[bytes], per_second: float, host: str = "127.0.0.1") -> None:
    """Send datagrams until the process is stopped, and read no answers."""
    socks = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(64)]
    for one in socks:
        one.setblocking(False)
    begun = time.monotonic()
    for number, datagram in enumerate(queries):
        with suppress(OSError):
            socks[number % len(socks)].sendto(datagram, (host, target.dns))
        if number % 16 == 0:
            time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
            for one in socks:
                with suppress(OSError):
                    one.recv(65536)


def large_foreign(target: DnsTarget) -> None:
    flood(target, (query(f"x{n}.big.example", payload=1232) for n in itertools.count()), 1000)


def listing(target: DnsTarget) -> None:
    flood(
        target,
        (
            query(f"_services._dns-sd._udp.{ZONE}", 12, payload=1232, cookie=random.randbytes(8))
            for _ in itertools.count()
        ),
        3000,
    )


def over_tcp(target: DnsTarget) -> None:
    names = (("_services._dns-sd._udp", 12), ("_crowd._tcp", 33), ("crowd", 1))
    _pipelined(target, [query(f"{name}.{ZONE}", qtype) for name, qtype in names])


def foreign_over_tcp(target: DnsTarget) -> None:
    _pipelined(target, [query(f"y{random.getrandbits(40)}.big.example") for _ in range(4)])


def _pipelined(target: DnsTarget, queries: list[bytes]) -> None:
    def one() -> None:
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", target.dns)) as sock:
                sock.settimeout(5)
                while True:
                    sock.sendall(b"".join(struct.pack("!H", len(each)) + each for each in queries))
                    for _ in queries:
                        left = struct.unpack("!H", sock.recv(2, socket.MSG_WAITALL))[0]
                        sock.recv(left, socket.MSG_WAITALL)

    for _ in range(8):
        threading.Thread(target=one, daemon=True).start()
    time.sleep(3600)


def explained(target: DnsTarget) -> None:
    def one() -> None:
        while True:
            with suppress(OSError, http.client.HTTPException):
                asking = http.client.HTTPConnection("127.0.0.1", target.http, timeout=10)
                while True:
                    asking.request("GET", f"/explain/fleet_service_x{random.getrandbits(24)}")
                    asking.getresponse().read()

    for _ in range(8):
        threading.Thread(target=one, daemon=True).start()
    time.sleep(3600)


def random_names(target: DnsTarget) -> None:
    flood(target, (query(f"x{random.getrandbits(60):x}.{ZONE}") for _ in itertools.count()), 20_000)


def slow_foreign(target: DnsTarget) -> None:
    flood(target, (query(f"x{n}.slow.example") for n in itertools.count()), 100)


def slow_suffixes(target: DnsTarget) -> None:
    flood(target, (query(f"x{n}.slow.d{n}.example") for n in itertools.count()), 100)


ATTACKS: Final[dict[str, Callable[[DnsTarget], None]]] = {
    "foreign answers of 46 KB": large_foreign,
    "foreign answers of 46 KB over TCP": foreign_over_tcp,
    "all services, new cookies": listing,
    "large answers over TCP": over_tcp,
    "GET /explain of unknown names": explained,
    "random names of the zone": random_names,
    "100 slow foreign names/s": slow_foreign,
    "100 slow foreign domains/s": slow_suffixes,
}


class NeighbourView(msgspec.Struct):
    """What a neighbour saw: the time of each answer, and the questions without one."""

    taken_ms: list[float]
    lost: int = 0

    def percentile(self, share: float) -> float:
        return sorted(self.taken_ms)[int(len(self.taken_ms) * share)] if self.taken_ms else float("inf")


def asked(target: DnsTarget, datagram: bytes, patience_s: float = PATIENCE_S) -> float | None:
    """Return how many milliseconds the answer took; None for none in time, or for one without records."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(patience_s)
        sock.connect(("127.0.0.1", target.dns))
        begun = time.perf_counter()
        try:
            sock.send(datagram)
            answer = sock.recv(4096)
        except OSError:
            return None
        return (time.perf_counter() - begun) * 1000 if answer[6:8] != b"\0\0" else None


def watched(target: DnsTarget, names: Callable[[], bytes], until: float, view: NeighbourView) -> None:
    """Ask every few milliseconds until then."""
    while time.monotonic() < until:
        taken = asked(target, names())
        if taken is None:
            view.lost += 1
        else:
            view.taken_ms.append(taken)
        time.sleep(0.01)


def attacked(target: DnsTarget, attack: Callable[[DnsTarget], None] | None, seconds: float) -> tuple[str, ...]:
    """Return a row of the table."""
    attacker = multiprocessing.Process(target=attack, args=(target,), daemon=True) if attack is not None else None
    own, foreign = NeighbourView([]), NeighbourView([])
    names = itertools.count(random.getrandbits(24))
    if attacker is not None:
        attacker.start()
        time.sleep(1.0)
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=watched, args=(target, lambda: query(f"fleet-service-1.{ZONE}"), until, own)),
        threading.Thread(target=watched, args=(target, lambda: query(f"n{next(names)}.good.org"), until, foreign)),
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    if attacker is not None:
        attacker.kill()
        attacker.join()
    ended = time.monotonic()
    while asked(target, query(f"fleet-service-1.{ZONE}"), 0.2) is None and time.monotonic() < ended + 60:
        pass
    after_s = time.monotonic() - ended
    shown = [f"{view.percentile(share):.1f}" for view in (own, foreign) for share in (0.5, 0.99)]
    return (*shown[:2], str(own.lost), *shown[2:], str(foreign.lost), f"{after_s:.2f}")


@contextmanager
def agent(folder: Path) -> Iterator[DnsTarget]:
    """Run a registry and an agent with a large fleet, and a resolver for foreign names."""
    fleet = BenchFleet(tuple(f"fleet_service_{n}" for n in range(SERVICES)))
    registry, http_port, port, resolver = (free_port() for _ in range(4))
    url = f"http://127.0.0.1:{registry}"
    settings = {"REGISTRY_LEASE_TTL": "3600", "REGISTRY_WARMING": "1", "REGISTRY_LOG_LEVEL": "warning"}
    serving = multiprocessing.Process(target=resolve, args=(resolver,), daemon=True)
    serving.start()
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{registry}"], folder / "registry.log", settings):
        wait_until(lambda: accepts(registry), "the registry listens")
        for number in range(SERVICES):
            dns_servers.register(url, fleet, number)
        crowd = BenchFleet(("crowd",) * (SERVICES + CROWD))
        for number in range(SERVICES, SERVICES + CROWD):  # each with an address of its own
            dns_servers.register(url, crowd, number, instance_id=f"c{number}")
        words = {
            "REGISTRY_URL": url,
            "AGENT_DNS_FORWARD": f"127.0.0.1:{resolver}",
            "AGENT_VIEW_SERVICES": "2000",
            "AGENT_LOG_LEVEL": "warning",
        }
        argv = [*VERTICE, "agent", "--http-listen", f"127.0.0.1:{http_port}", "--dns-listen", f"127.0.0.1:{port}"]
        with running(argv, folder / "agent.log", words):
            target = DnsTarget(port, http_port, "")
            wait_until(lambda: asked(target, query(f"crowd.{ZONE}")) is not None, "the agent answers", timeout_s=60)
            yield target
    serving.kill()


def main() -> int:
    """Attack, and print a table; return 1 when a neighbour's p99 was over the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.dns_attacks", description=__doc__)
    parser.add_argument("attack", nargs="*", help="part of an attack's name (default: all)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each attack (default 4)")
    arguments = parser.parse_args()
    chosen = {
        name: attack
        for name, attack in ATTACKS.items()
        if not arguments.attack or any(word in name for word in arguments.attack)
    }
    head = ("", "p50 ms", "p99 ms", "lost", "foreign p50", "p99", "lost", "first after s")
    rows = []
    with tempfile.TemporaryDirectory(prefix="vertice-bench-") as folder, agent(Path(folder)) as target:
        for name, attack in ({"none": None} | chosen).items():
            row = attacked(target, attack, arguments.seconds)
            print(name, *row)
            rows.append((name, *row))
    print("\n" + "\n".join(aligned([head, *rows], right=range(1, len(head)))))
    return 0 if all(float(row[2]) <= GOAL_MS and row[3] == "0" for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
