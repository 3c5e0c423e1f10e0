"""DNS workers are real processes, which answer as their agent does, and whose deaths nobody notices for long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import dnslib
import psutil
import pytest
import pytest_asyncio

from agent.dns_workers import pool as dns_workers
from agent.dns_workers.pool import DnsWorkers
from agent.settings.settings import AgentSettings
from agent.sidecar import Sidecar
from agent.view.fallback import Fallback
from dns.forward_rules import read_rules
from dns.forwarding import Forwarder
from dns.responder import DnsSettings
from dns.udp import serve_udp
from registry_core.domain.selection import WhenNonePass
from registry_core.ports.clock import SystemClock
from tests.programs import VERTICE, accepts, eventually, free_port, running, wait_until
from tests.resolvers import STEADY, resolver, to
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, rcode, responder

COUNT = 2
SECRET = bytes(range(16))
# Enough source ports that each of the processes has some of them.
PORTS = 40


def ask(port: int, name: str, qtype: str = "A", timeout_s: float = 2.0) -> bytes | None:
    """Return the answer to a query from a port of its own, or None."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):
            sock.send(question(f"{name}.{ZONE}", qtype))
            return sock.recv(4096)
    return None


async def asked(port: int, name: str, count: int = PORTS) -> list[bytes | None]:
    return [await asyncio.to_thread(ask, port, name) for _ in range(count)]


async def all_say(port: int, name: str, wanted: list[str]) -> None:
    async with asyncio.timeout(15):
        while any(a is None or data(parsed(a)) != wanted for a in await asked(port, name)):
            pass


class Working:
    """Workers that have the port to themselves, so that all answers are theirs."""

    def __init__(self, view: StandingView, fallback: Fallback, workers: DnsWorkers, port: int) -> None:
        self.view, self.fallback, self.workers, self.port = view, fallback, workers, port


@contextlib.asynccontextmanager
async def at_work(forwarder: Forwarder | None = None, port: int = 0) -> AsyncIterator[Working]:
    elsewhere = [instance("outside", "10.0.0.4"), instance("ip_intel", "10.0.0.5"), instance("db", "db.example")]
    view = StandingView([instance("ip_intel", "10.0.0.1"), *(instance(f"s{n:03}", "10.0.0.2") for n in range(300))])
    fallback = Fallback(elsewhere)
    port = port or free_port()
    workers = DnsWorkers(view, fallback, forwarder, SECRET)
    workers.start(COUNT, "127.0.0.1", port, DnsSettings())
    async with asyncio.timeout(30):
        while not all(worker.counts.queries for worker in workers._workers):
            await asked(port, "ip-intel", 10)  # until each of them has answered some, and said so
    try:
        yield Working(view, fallback, workers, port)
    finally:
        await workers.close()
        await workers.close()
        assert workers.pids == []


@pytest_asyncio.fixture
async def working() -> AsyncIterator[Working]:
    async with at_work() as working:
        yield working


async def test_every_worker_answers_as_the_agent_does(working: Working) -> None:
    await eventually(lambda: len(working.workers.pids) == COUNT, "both are there")
    own = responder(working.view)
    for name, qtype in (("ip-intel", "A"), ("_ip-intel._tcp", "SRV"), ("s299", "TXT"), ("nobody", "A"), ("s000", "MX")):
        wanted = own.udp(question(f"{name}.{ZONE}", qtype))
        answers = {await asyncio.to_thread(ask, working.port, name, qtype) for _ in range(PORTS)}
        assert answers == {wanted}, name


async def test_every_worker_knows_what_is_said_elsewhere_as_long_as_the_view_cannot_tell(working: Working) -> None:
    await all_say(working.port, "outside", [])
    working.view.complete = False
    working.view.age(0)
    await all_say(working.port, "outside", ["10.0.0.4"])
    await all_say(working.port, "ip-intel", ["10.0.0.1"])
    working.fallback.located({"db.example": ("10.0.0.6",)})
    working.view.put(instance("db", "10.9.9.9"))  # as a view does: it names the service
    working.view.become(*(i for i in working.view.catalog if i.service_name != "db"))
    await all_say(working.port, "db", ["10.0.0.6"])
    working.view.complete = True
    working.view.age(0)
    await all_say(working.port, "outside", [])


async def test_the_cookie_of_one_is_good_for_all(working: Working) -> None:
    def one(cookie: bytes) -> bytes:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect(("127.0.0.1", working.port))
            sock.send(question(f"ip-intel.{ZONE}", edns=1232, options=(dnslib.EDNSOption(10, cookie),)))
            return sock.recv(4096)[-24:]

    given = await asyncio.to_thread(one, b"8 octets")
    assert given[:8] == b"8 octets"
    assert {await asyncio.to_thread(one, given) for _ in range(PORTS)} == {given}, "a good one comes back as it is"


async def test_a_change_is_in_every_worker(working: Working) -> None:
    working.view.put(instance("ip_intel", "10.0.0.7"))
    await all_say(working.port, "ip-intel", ["10.0.0.1", "10.0.0.7"])
    working.view.become(instance("ip_intel", "10.0.0.7"))
    await all_say(working.port, "ip-intel", ["10.0.0.7"])
    await all_say(working.port, "s000", [])


async def test_other_settings_are_in_every_worker_and_in_those_that_come_after(working: Working) -> None:
    near = instance("ip_intel", "10.0.0.8", zone="east")
    working.view.become(instance("ip_intel", "10.0.0.1", zone="west"), near)
    working.workers.prefer("east", WhenNonePass.ALL)

    async def ranked() -> None:
        async with asyncio.timeout(15):
            while {tuple(sorted(await priorities(working.port))) for _ in range(PORTS)} != {(0, 10)}:
                pass

    await ranked()
    for pid in working.workers.pids:
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: working.workers.restarts == COUNT and len(working.workers.pids) == COUNT, "others came")
    await ranked()
    working.view.complete = False
    working.workers.use_fallback(Fallback([instance("elsewhere", "10.0.0.9")]))
    working.view.age(0)
    await all_say(working.port, "elsewhere", ["10.0.0.9"])
    await all_say(working.port, "outside", [])


async def priorities(port: int) -> list[int]:
    answer = await asyncio.to_thread(ask, port, "_ip-intel._tcp", "SRV")
    return [record.rdata.priority for record in parsed(answer).rr] if answer is not None else []


async def test_a_worker_says_how_old_its_answers_are(working: Working) -> None:
    working.view.age(45)
    async with asyncio.timeout(15):
        while any(a is None or b"\0\x0f\0\2\0\3" not in a for a in await edns_asked(working.port)):
            pass


async def edns_asked(port: int) -> list[bytes | None]:
    def one() -> bytes | None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.connect(("127.0.0.1", port))
            sock.send(question(f"ip-intel.{ZONE}", edns=1232))
            with contextlib.suppress(OSError):
                return sock.recv(4096)
        return None

    return [await asyncio.to_thread(one) for _ in range(PORTS)]


async def test_an_incomplete_view_denies_nothing_in_a_worker_either(working: Working) -> None:
    working.view.complete = False
    working.view.age(0)
    async with asyncio.timeout(15):
        while any(a is None or rcode(parsed(a)) != "SERVFAIL" for a in await asked(working.port, "nobody")):
            pass


# -- names of others


@contextlib.asynccontextmanager
async def forwarding(rules: str) -> AsyncIterator[Forwarder]:
    forwarder = Forwarder(read_rules(rules), SystemClock(), STEADY)
    await forwarder.start()
    try:
        yield forwarder
    finally:
        await forwarder.close()


def ask_for_others(port: int, name: str) -> bytes | None:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", port))
        sock.send(question(name, edns=1232))
        with contextlib.suppress(OSError):
            return sock.recv(4096)
    return None


async def test_a_name_of_others_is_answered_by_every_worker_and_asked_for_once() -> None:
    async with resolver() as one, forwarding(to(one)) as forwarder, at_work(forwarder) as working:
        await all_say(working.port, "ip-intel", ["10.0.0.1"])
        for name in ("www.example", "nobody.onion"):
            answers = [await asyncio.to_thread(ask_for_others, working.port, name) for _ in range(PORTS)]
            assert {rcode(parsed(a)) for a in answers} == {"NOERROR" if name == "www.example" else "NXDOMAIN"}
            assert all(a is not None and a[3] & 0x80 for a in answers), "recursion is available"
        assert [name.lower() for name in one.names] == ["www.example."]
        assert forwarder.counts == {"answered": 1, "cached": PORTS - 1, "special": PORTS}


async def test_a_question_that_comes_back_is_recognised_whichever_worker_it_comes_to() -> None:
    """The agent's own address under a name by which it cannot know itself: its workers pass its questions back."""
    port = free_port()
    rules = f"127.0.0.1:{port}"
    async with resolver() as good, forwarding(f"{rules},{to(good)}") as forwarder, at_work(forwarder, port) as working:
        for number in range(20):
            answer = await asyncio.to_thread(ask_for_others, working.port, f"n{number}.example")
            assert data(parsed(answer)) == ["192.0.2.1"]
        await eventually(lambda: forwarder.report().upstreams[0].state == "looping", "it is recognised")
        assert forwarder.counts["looped"] < 10, "and was not asked again and again"


# -- limits


@pytest.mark.parametrize(("limit", "workers", "each"), [(1000, 1, 1000), (1000, 3, 334), (2, 64, 1), (0, 3, 0)])
def test_all_processes_together_keep_the_limit(limit: int, workers: int, each: int) -> None:
    agent = Sidecar(AgentSettings(dns_rate_limit=limit, dns_workers=workers))
    assert agent.dns_settings.rate_limit == each


# -- deaths


async def test_a_killed_worker_is_replaced_and_the_others_answer_meanwhile(working: Working) -> None:
    workers = working.workers
    await eventually(lambda: len(workers.pids) == COUNT, "both are there")
    before = workers.pids
    os.kill(before[0], signal.SIGKILL)
    await eventually(lambda: before[0] not in workers.pids, "its end is seen")
    answers = await asked(working.port, "ip-intel")
    assert all(a is not None and data(parsed(a)) == ["10.0.0.1"] for a in answers), "the kernel asks who is left"
    await eventually(lambda: len(workers.pids) == COUNT, "there is another")
    assert workers.restarts == 1


async def test_a_worker_that_hangs_is_replaced(working: Working, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_workers, "SILENT_AFTER_S", 2.0)
    workers = working.workers
    await eventually(lambda: len(workers.pids) == COUNT, "both are there")
    await asyncio.sleep(1.5)  # a second of the old patience may be under way
    hanging = workers.pids[0]
    os.kill(hanging, signal.SIGSTOP)
    await eventually(lambda: hanging not in workers.pids and len(workers.pids) == COUNT, "there is another")
    assert not psutil.pid_exists(hanging)
    await all_say(working.port, "ip-intel", ["10.0.0.1"])


async def test_what_workers_counted_is_added_up_and_outlives_them(working: Working) -> None:
    counted = working.workers

    def answered() -> int:
        return counted.counts.queries.get("A NOERROR", 0)

    at_first = answered()
    await asked(working.port, "ip-intel", 30)
    await eventually(lambda: answered() >= at_first + 30, "all are counted")
    before = answered()
    os.kill(counted.pids[0], signal.SIGKILL)
    await eventually(lambda: counted.restarts == 1, "it is replaced")
    assert answered() >= before


async def test_a_worker_that_cannot_listen_is_tried_again_until_it_can() -> None:
    taken = await serve_udp(responder(StandingView()), "127.0.0.1", 0)
    port, workers = taken.port, DnsWorkers(StandingView(), Fallback(), None, SECRET)
    workers.start(1, "127.0.0.1", port, DnsSettings())
    await eventually(lambda: workers.restarts >= 1, "it is started again")
    taken.close()
    await all_say(port, "nobody", [])
    await workers.close()


def test_an_agent_with_workers_answers_on_when_they_or_the_registry_die_and_leaves_none_behind(tmp_path: Path) -> None:
    registry_port, dns_port, http_port = free_port(), free_port(), free_port()
    with running(
        [*VERTICE, "registry", "--listen", f"127.0.0.1:{registry_port}"], tmp_path / "registry.log"
    ) as registry:
        wait_until(lambda: accepts(registry_port), "the registry listens")
        body = b'{"service_name": "billing", "host": "10.0.0.7", "port": 8034, "instance_id": "a"}'
        request = urllib.request.Request(
            f"http://127.0.0.1:{registry_port}/register", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()
        argv = [*VERTICE, "agent", "--http-listen", f"127.0.0.1:{http_port}", "--dns-listen", f"127.0.0.1:{dns_port}"]
        env = {"REGISTRY_URL": f"http://127.0.0.1:{registry_port}", "AGENT_DNS_WORKERS": "3"}
        with running(argv, tmp_path / "agent.log", env) as agent:

            def workers() -> list[psutil.Process]:
                return psutil.Process(agent.pid).children()

            def all_answer() -> bool:
                answers = [ask(dns_port, "billing", timeout_s=0.5) for _ in range(PORTS)]
                return all(a is not None and data(parsed(a)) == ["10.0.0.7"] for a in answers)

            def shown(line: str) -> bool:
                with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/metrics", timeout=10) as metrics:
                    return line in metrics.read().decode()

            wait_until(lambda: accepts(http_port) and len(workers()) == 2, "the agent and its workers are there")
            wait_until(all_answer, "all of them answer")
            wait_until(lambda: shown("agent_dns_workers 3.0"), "they are counted")
            workers()[0].kill()
            wait_until(all_answer, "all answer again")
            wait_until(lambda: len(workers()) == 2 and shown("agent_dns_worker_restarts_total 1.0"), "it is replaced")
            registry.signal(signal.SIGKILL)
            wait_until(all_answer, "all answer without the registry")
            left = workers()
            agent.signal(signal.SIGKILL)
            psutil.wait_procs(left, timeout=10)
            assert not any(one.is_running() for one in left), "they end with their agent"
