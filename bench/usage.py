"""Measures what counting usage costs: the hot path of DNS, a lookup over HTTP, the octets of reports, and memory.

Each path is measured with and without counting, in turn, several times in this process, by processor time; the best
round of each counts, since other activity on the machine only slows a round down. Run as `python -m bench.usage`.
"""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Final

import msgspec

from bench.machine import this_machine
from cli.table import aligned
from dns.answer_cache import AnswerCache, CachedAnswers
from dns.dns_settings import DnsSettings
from dns.responder import Responder
from registry_core.api.ready_bodies import KEPT_S, Body, ReadyBodies
from registry_core.usage.asked import AskedNames
from registry_core.usage.book import UsageBook
from registry_core.usage.ledger import AgentLedger
from registry_core.usage.limits import MAX_REPORT_PAIRS
from registry_core.usage.report import AgentReport, Asked, Face
from tests.samples import instance
from tests.views import StandingView

ROUNDS: Final = 15
BATCH: Final = 64
BATCHES: Final = 8_000
REQUESTS: Final = 300_000
# What one request takes the agent in all, measured by `make bench`: 19,000/s on one core.
REQUEST_NS: Final = 52_000.0
SERVICES, INSTANCES = 16, 3
AGENTS, PAIRS = 500, 20


class _Without(AnswerCache):
    """The cache as it is without counting by service."""

    def _settle(self, entry: CachedAnswers) -> None:
        self._hits += entry.settle()


class _BodiesWithout(ReadyBodies):
    """The ready bodies as they are without counting by service."""

    def take(self, target: str, now: float) -> tuple[bytes, Body] | None:
        if now >= self._until:
            self.clear()
            self._until = now + KEPT_S
            return None
        body = self._ready.get(target)
        if body is None:
            return None
        return self.beginning(body, body.draw(self._random)), body


def best_ns(work: Callable[[], None], other: Callable[[], None], count: int) -> tuple[float, float]:
    """Return the nanoseconds of processor time for each of `count` steps of both, measured in turn."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for times, each in zip(found, (work, other), strict=True):
            began = time.process_time_ns()
            each()
            times.append((time.process_time_ns() - began) / count)
    return min(found[0]), min(found[1])


def responder_of(*, counts: bool) -> tuple[Responder, list[bytes]]:
    """Return a responder with several services, and the keys of one batch of queries that are ready."""
    view = StandingView(
        instance(f"service-{n}", f"10.0.{n}.{i}", 8000 + i) for n in range(SERVICES) for i in range(1, INSTANCES + 1)
    )
    responder = Responder(view, DnsSettings(), random.Random(1))
    responder.asked.is_on = counts
    if not counts:
        for part in (responder._ready.found, responder._ready.missing):  # noqa: SLF001 - the responder has no way to leave its own counting out
            part.__class__ = _Without
    queries = []
    for n in range(BATCH):
        label = f"service-{n % SERVICES}".encode()
        name = bytes([len(label)]) + label + b"\x07vertice\x08internal\0"
        queries.append(b"\0\1\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1")
    for query in queries:
        responder.udp(query)
    return responder, [query[2:] for query in queries]


def dns_ns() -> tuple[float, float]:
    """Return the nanoseconds of one ready answer, with and without counting."""

    def asking(responder: Responder, keys: list[bytes]) -> Callable[[], None]:
        def ask() -> None:
            for _ in range(BATCHES):
                for key, ready in zip(keys, responder.ready(keys), strict=True):
                    if not ready.answer:
                        responder.udp(b"\0\1" + key)

        return ask

    return best_ns(asking(*responder_of(counts=True)), asking(*responder_of(counts=False)), BATCH * BATCHES)


def http_ns() -> tuple[float, float]:
    """Return the nanoseconds of taking one ready body, with and without counting."""

    def taking(*, counts: bool) -> Callable[[], None]:
        kind = ReadyBodies if counts else _BodiesWithout
        bodies = kind(random.Random(1), AskedNames().add)
        bodies.take("/", 0.0)
        bodies.put("/resolve/billing", Body("billing", (), lambda _: b"x"))

        def take() -> None:
            for _ in range(REQUESTS):
                bodies.take("/resolve/billing", 0.5)

        return take

    return best_ns(taking(counts=True), taking(counts=False), REQUESTS)


def report_of(agent: int, pairs: int) -> AgentReport:
    """Return a report with so many pairs, with names of usual lengths."""
    usage = tuple(
        Asked(f"service-number-{n}", Face.DNS if n % 2 else Face.HTTP, 10_000 + n, 12.345) for n in range(pairs)
    )
    return AgentReport(
        key=f"{agent:032x}",
        sequence=120,
        version="1.0.0",
        zone="eu-1a",
        host="web-17",
        freshness="fresh",
        age_s=0.0,
        services=("billing",),
        service_count=1,
        counted_s=3600.0,
        usage=usage,
    )


def octets(pairs: int) -> int:
    """Return the octets of the body of one report."""
    body = {"watcher": "0" * 16 + "-" + "0" * 32, "cursor": "", "report": report_of(1, pairs)}
    return len(msgspec.json.encode(body))


def memory_of(fill: Callable[[], object]) -> int:
    """Return the octets that what `fill` returns takes."""
    gc.collect()
    tracemalloc.start()
    kept = fill()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return size


def ledger() -> AgentLedger:
    """Return a ledger as AGENTS agents with PAIRS pairs each fill it, read from the wire."""
    kept = AgentLedger(0.0)
    for agent in range(AGENTS):
        kept.take(msgspec.json.decode(msgspec.json.encode(report_of(agent, PAIRS)), type=AgentReport), 1.0)
    return kept


def book() -> UsageBook:
    """Return a full book of an agent."""
    asked = AskedNames()
    kept = UsageBook({Face.DNS: asked}, settle=lambda: None, is_known=lambda _: True, now=0.0)
    for n in range(1000):
        asked.add(f"service-number-{n}")
    kept.counts(1.0)
    return kept


def main() -> None:
    """Measure, and print a table."""
    dns, http = dns_ns(), http_ns()
    bare = memory_of(lambda: [AgentLedger(0.0)])
    rows = [
        ("DNS, a ready answer", f"{dns[0]:.0f} ns", f"{dns[1]:.0f} ns without", f"{dns[0] / dns[1] - 1:+.1%}"),
        (
            "HTTP, a ready body",
            f"{http[0]:.0f} ns",
            f"{http[1]:.0f} ns without",
            f"{(http[0] - http[1]) / REQUEST_NS:+.2%} of a request",
        ),
        ("a report of no pair", f"{octets(0)} octets", "", ""),
        ("a report of 20 pairs", f"{octets(20)} octets", f"{(octets(20) - octets(0)) / 20:.0f} each", ""),
        (f"a report of {MAX_REPORT_PAIRS} pairs", f"{octets(MAX_REPORT_PAIRS)} octets", "", ""),
        ("a pair at the replica", f"{(memory_of(ledger) - bare) / (AGENTS * PAIRS):.0f} octets", "with its agent", ""),
        ("a pair at the agent", f"{memory_of(book) / 1000:.0f} octets", "", ""),
    ]
    print(this_machine())
    print("\n".join(aligned(rows, right=(1,))))


if __name__ == "__main__":
    main()
