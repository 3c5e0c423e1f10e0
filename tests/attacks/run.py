"""`make attack`: attacks the ports of a real registry and a real agent, and says what a good neighbour sees of it.

usage: python -m tests.attacks.run [WORD...]

Only attacks whose names contain one of the words are made. One line each: requests of the neighbour that failed, its
slowest percent in milliseconds, and the program's resident memory before, during and after. Fails when a request
failed, when the slowest percent takes longer than 50 ms, or when memory does not return.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from tests.attacks.attacker import GET, QUERY
from tests.certificates import Authority
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

MEASURED_S = 5.0
AFTER_S = 6.0
MOST_P99_MS = 50.0
# What Python's allocator keeps of it, and the buffers of the measurement itself.
MOST_GROWTH_MB = 60.0
CLOSING = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

# The certificate of the registry is its own; the neighbour measures time, and proves nothing.
TRUSTING = ssl.create_default_context()
TRUSTING.check_hostname, TRUSTING.verify_mode = False, ssl.CERT_NONE

# face, kind, connections
ATTACKS: tuple[tuple[str, str, int], ...] = (
    ("agent", "idle", 1200),
    ("agent", "silent", 10_000),
    ("agent", "half_header", 1200),
    ("agent", "large_header", 1200),
    ("agent", "unread", 1200),
    ("agent", "pipelined", 200),
    ("agent", "half_closed", 1200),
    ("registry", "idle", 10_000),
    ("registry", "half_header", 10_000),
    ("registry", "large_header", 2000),
    ("registry", "half_body", 5000),
    ("registry", "unread", 2000),
    ("registry", "pipelined", 200),
    ("registry", "half_closed", 5000),
    ("tls", "handshakes", 400),
    ("tls", "no_handshake", 2000),
    ("dns", "idle", 300),
    ("dns", "silent", 2000),
    ("dns", "half_header", 300),
    ("dns", "unread", 300),
    ("dns", "pipelined", 100),
    ("dns", "never_ready", 100),
)


class Sight(msgspec.Struct):
    """What a good neighbour has seen."""

    asked: int = 0
    failed: int = 0
    took_ms: list[float] = []

    @property
    def p99_ms(self) -> float:
        return statistics.quantiles(self.took_ms, n=100)[98] if len(self.took_ms) > 1 else float("inf")


class Target(msgspec.Struct):
    """A port of a program."""

    name: str
    port: int
    program: Program
    # From which the attacker comes, and to which it connects.
    attacked_at: str = "127.0.0.1"

    @property
    def resident_mb(self) -> float:
        resident: int = psutil.Process(self.program.pid).memory_info().rss
        return resident / 1e6


def own_address() -> str:
    """Return an address of this machine beyond loopback, by which attackers are told from neighbours, if it has one."""
    addresses = (each for found in psutil.net_if_addrs().values() for each in found if each.family == socket.AF_INET)
    return next((each.address for each in addresses if not each.address.startswith("127.")), "127.0.0.1")


def ask(port: int, face: str) -> bool:
    """Return whether a new connection is answered."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        # As HTTP clients do: the request must not wait for the acknowledgement of the end of a handshake.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if face == "tls":
            client = stack.enter_context(TRUSTING.wrap_socket(client))
        client.sendall(QUERY if face == "dns" else CLOSING)
        answer = client.recv(65536)
    return len(answer) > 12 if face == "dns" else answer.startswith(b"HTTP/1.1 200 ")


def neighbour(port: int, face: str, lasts_s: float) -> Sight:
    """Ask again and again, each time with a connection of its own, as HEALTHCHECK and shell scripts do."""
    sight = Sight()
    ends = time.monotonic() + lasts_s
    while time.monotonic() < ends:
        began = time.perf_counter()
        with contextlib.suppress(OSError):
            if ask(port, face):
                sight.took_ms.append(1000 * (time.perf_counter() - began))
        sight.asked += 1
        sight.failed = sight.asked - len(sight.took_ms)
        time.sleep(0.005)
    return sight


@contextlib.contextmanager
def attacked(folder: Path, target: Target, kind: str, count: int) -> Iterator[None]:
    """Have an attacker for the duration of a `with`."""
    argv = [sys.executable, "-m", "tests.attacks.attacker", kind, str(target.port), str(count)]
    argv += [target.name, target.attacked_at]
    log = folder / f"{target.name}-{kind}.log"
    with running(argv, log) as attacker:
        wait_until(lambda: "ready" in attacker.output() or attacker.process.poll() is not None, "all connect", 60)
        assert attacker.process.poll() is None, attacker.output()
        yield


def one(folder: Path, target: Target, kind: str, count: int) -> bool:
    """Make one attack, print its line, and return whether the neighbour was served well and memory returned."""
    before = target.resident_mb
    calm = neighbour(target.port, target.name, 1.0)
    with attacked(folder, target, kind, count):
        sight = neighbour(target.port, target.name, MEASURED_S)
        during = target.resident_mb
    time.sleep(AFTER_S)
    after = target.resident_mb
    is_well = not sight.failed and sight.p99_ms < MOST_P99_MS and after - before < MOST_GROWTH_MB
    sys.stdout.write(
        f"{'ok  ' if is_well else 'FAIL'} {target.name:9}{kind:13}{count:6} connections: failed {sight.failed:3} of "
        f"{sight.asked:4}, p99 {sight.p99_ms:6.1f} ms (alone {calm.p99_ms:4.1f}), memory {before:4.0f} -> "
        f"{during:4.0f} -> {after:4.0f} MB\n"
    )
    sys.stdout.flush()
    return is_well


@contextlib.contextmanager
def targets(folder: Path) -> Iterator[dict[str, Target]]:
    """Run a registry and an agent with one service for the duration of a `with`."""
    port, http, dns, tls = free_port(), free_port(), free_port(), free_port()
    with contextlib.ExitStack() as stack:
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
        registry = stack.enter_context(running(argv, folder / "registry.log", {"REGISTRY_WARMING": "0"}))
        wait_until(lambda: accepts(port), "the registry listens")
        certificate = Authority(folder / "fleet").issue("DNS:localhost")
        env = {
            "REGISTRY_WARMING": "0",
            "REGISTRY_SECRET": secrets.token_hex(24),
            "REGISTRY_TLS_CERT": str(certificate.cert),
            "REGISTRY_TLS_KEY": str(certificate.key),
        }
        guarded = stack.enter_context(running([*VERTICE, "registry", "--listen", f":{tls}"], folder / "tls.log", env))
        wait_until(lambda: accepts(tls), "the registry with TLS listens")
        env = {
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{http}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{dns}",
            "AGENT_DNS_FORWARD": "none",
            "REGISTRY_URL": f"http://127.0.0.1:{port}",
            "SERVICE_NAME": "ip_intel",
            "SERVICE_HOST": "127.0.0.1",
            "SERVICE_PORT": "8034",
            "AGENT_CHECK": "none",
        }
        agent = stack.enter_context(running([*VERTICE, "agent"], folder / "agent.log", env))
        wait_until(lambda: accepts(http) and accepts(dns), "the agent listens")
        wait_until(lambda: ask(http, "agent") and ask(port, "registry"), "the service is known")
        yield {
            "agent": Target("agent", http, agent),
            "registry": Target("registry", port, registry),
            "dns": Target("dns", dns, agent),
            "tls": Target("tls", tls, guarded, own_address()),
        }


def main() -> int:
    """Attack, and return 1 when a neighbour was not served well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    words = parser.parse_args().words
    failed = 0
    with tempfile.TemporaryDirectory() as name, targets(Path(name)) as found:
        for face, kind, count in ATTACKS:
            if not words or any(word in f"{face} {kind}" for word in words):
                failed += not one(Path(name), found[face], kind, count)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
