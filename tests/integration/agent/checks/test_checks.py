"""The checks, against services that answer well, badly, elsewhere, endlessly or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from agent.checks.checker import ProbingChecker, ReportedChecker
from agent.checks.flapping import FlapLimits
from agent.checks.group import ServiceChecks
from agent.checks.grpc import GrpcCall
from agent.checks.http import HttpRequest, matches
from agent.checks.http_answer import MAX_BODY_BYTES
from agent.checks.pattern import Pattern
from agent.checks.probes import AddressProbe, CheckProbes, TcpConnection
from agent.checks.result import WELL, CheckOutcome, NotChecked, Probe, critical
from agent.checks.spec import CheckPace, CheckSpec, CommandCheck, GrpcCheck, HttpCheck, TcpCheck, Tls, TtlCheck
from registry_core.domain.records import Status
from registry_core.resolution import NotResolved
from tests.integration.agent.checks.results import result
from tests.integration.agents import StandIn, http_check, spec, stand_in
from tests.programs import eventually


@pytest_asyncio.fixture
async def service() -> AsyncIterator[StandIn]:
    async with stand_in() as running:
        yield running


def http_probe(service: StandIn, timeout_s: float = 2.0, **how: Any) -> AddressProbe:
    claim = spec(service).claim
    return AddressProbe(claim.host, timeout_s, HttpRequest(claim, http_check(claim, **how), timeout_s))


def grpc_probe(service: StandIn) -> AddressProbe:
    claim = spec(service).claim
    return AddressProbe(claim.host, 2.0, GrpcCall(claim, GrpcCheck(), 2.0))


def tcp_probe(service: StandIn, timeout_s: float = 2.0) -> AddressProbe:
    return AddressProbe(service.host, timeout_s, TcpConnection(spec(service).claim))


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_an_answer_of_2xx_is_passing(service: StandIn, status: int) -> None:
    service.status, service.body = status, b"" if status == 204 else b"ok"
    claim = spec(service).claim
    at = HttpRequest(claim, HttpCheck(path="/health?deep=1%20x"), 2.0)
    assert await AddressProbe(claim.host, 2.0, at)() == WELL
    assert service.asked == ["/health?deep=1%20x"]


@pytest.mark.parametrize("status", [301, 404, 500, 503])
async def test_any_other_answer_is_critical_and_named(service: StandIn, status: int) -> None:
    service.status = status
    assert await http_probe(service)() == critical(f"HTTP {status}")


async def test_a_redirect_is_not_followed(service: StandIn) -> None:
    async with stand_in("127.77.0.2") as elsewhere:
        service.status = 302
        service.headers = f"Location: http://{elsewhere.host}:{elsewhere.port}/health\r\n"
        assert not (await result(http_probe(service, 2.0))).good
        assert elsewhere.asked == []


async def test_a_silent_service_is_critical_after_the_timeout(service: StandIn) -> None:
    service.silent.set()
    result = await http_probe(service, 0.05)()
    assert result == critical("no answer within 0.05 s")


async def test_only_the_start_of_a_huge_answer_is_read(service: StandIn) -> None:
    service.body = b"x" * 20_000_000
    assert (await result(http_probe(service, 5.0))).good


async def test_a_closed_port_is_critical(service: StandIn) -> None:
    await service.stop()
    for probe in (http_probe(service, 2.0), tcp_probe(service, 2.0)):
        found = await result(probe)
        assert not found.good
        assert found.because == "Connection refused"


async def test_an_answer_that_is_not_http_is_critical() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.77.0.3", 0)
    odd = StandIn("127.77.0.3")
    odd.port = server.sockets[0].getsockname()[1]
    try:
        assert not (await result(http_probe(odd, 2.0))).good
        assert (await result(tcp_probe(odd, 2.0))).good
        assert not (await result(http_probe(odd, 2.0, tls=Tls()))).good
    finally:
        server.close()


# -- addresses of a name


NO_SUCH_NAME = NotResolved(socket.EAI_NONAME, "both.example is a name without addresses")
AWAY = NotResolved(socket.EAI_AGAIN, "both.example is not resolved: no name server answers")


class Located:
    """The addresses of a service's host, and what its checks say of them."""

    def __init__(self, *addresses: str, checks: tuple[CheckSpec, ...], at: dict[str, Probe]) -> None:
        self.addresses: tuple[str, ...] | OSError = addresses
        self.statuses: list[Status] = []
        self.moves: list[set[str]] = []
        self.seen: list[CheckOutcome] = []
        self.reasons: list[str] = []
        self.checks = ServiceChecks(
            "osint",
            checks,
            lambda _check: at.__getitem__,
            locate=self._locate,
            changed=self._changed,
            moved=lambda: self.moves.append(set(self.checks.passing)),
            seen=lambda _kind, outcome: self.seen.append(outcome),
            random=NoJitter(),
        )

    async def _locate(self) -> tuple[str, ...]:
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return self.addresses

    def _changed(self, status: Status, because: str) -> None:
        self.statuses.append(status)
        self.reasons.append(because)

    async def round(self) -> None:
        """Check everything once."""
        for checker in self.checks.checkers:
            if isinstance(checker, ProbingChecker):
                await checker.check()


FAST = CheckPace(interval_s=0.01, timeout_s=0.01)
TCP = CheckSpec("tcp", TcpCheck(), CheckPace(rise=1, fall=1))


async def test_a_service_passes_where_it_is_well_and_only_there() -> None:
    at = {"10.0.0.7": Script(True, True, False), "10.0.0.8": Script(False, True, True, False)}
    located = Located(*at, checks=(TCP,), at=dict(at))
    for _ in range(4):
        await located.round()
    assert located.moves == [{"10.0.0.7"}, {"10.0.0.7", "10.0.0.8"}, {"10.0.0.8"}, set()]
    assert located.statuses == [Status.PASSING, Status.CRITICAL]
    assert located.reasons == ["", "tcp at 10.0.0.7: bad; tcp at 10.0.0.8: bad"]


async def test_each_address_has_a_row_of_results_of_its_own() -> None:
    at = {"10.0.0.7": Script(True, False, True, False, True), "10.0.0.8": Script(True, True, False, True, True)}
    located = Located(*at, checks=(CheckSpec("tcp", TcpCheck(), FAST),), at=dict(at))
    for _ in range(5):
        await located.round()
    assert located.moves == [{"10.0.0.7", "10.0.0.8"}], "no two results in a row are bad at one address"


async def test_an_address_must_pass_every_check_and_a_command_speaks_for_all() -> None:
    command = CheckSpec("command", CommandCheck(("/bin/true",)), CheckPace(rise=1, fall=1))
    at = {"10.0.0.7": Script(True), "10.0.0.8": Script(False), "": Script(True, False)}
    located = Located("10.0.0.7", "10.0.0.8", checks=(TCP, command), at=dict(at))
    await located.round()
    assert located.moves == [{"10.0.0.7"}]
    await located.round()
    assert located.moves == [{"10.0.0.7"}, set()]
    assert located.statuses == [Status.PASSING, Status.CRITICAL]
    rows = [(row.name, row.address, row.status) for row in located.checks.report()]
    assert rows == [
        ("tcp", "10.0.0.7", Status.PASSING),
        ("tcp", "10.0.0.8", Status.CRITICAL),
        ("command", "", Status.CRITICAL),
    ]


async def test_a_host_that_moves_is_checked_anew_and_is_not_critical_meanwhile() -> None:
    at = {"10.0.0.7": Script(True), "10.0.0.9": Script(False, True)}
    located = Located("10.0.0.7", checks=(CheckSpec("tcp", TcpCheck(), FAST),), at=dict(at))
    await located.round()
    located.addresses = ("10.0.0.9",)
    await located.round()
    await located.round()
    assert located.statuses == [Status.PASSING]
    assert located.moves == [{"10.0.0.7"}, set(), {"10.0.0.9"}]


async def test_a_name_without_addresses_is_critical_and_silence_is_no_verdict() -> None:
    located = Located(checks=(TCP,), at={"10.0.0.7": Script(True)})
    located.addresses = AWAY
    await located.round()
    assert (located.statuses, located.seen) == ([], [NotChecked(str(AWAY.strerror))])
    located.addresses = ("10.0.0.7",)
    await located.round()
    located.addresses = AWAY
    await located.round()
    assert located.statuses == [Status.PASSING]
    located.addresses = NO_SUCH_NAME
    await located.round()
    assert located.statuses == [Status.PASSING, Status.CRITICAL]
    assert located.reasons[-1] == "tcp: both.example is a name without addresses"


async def test_a_name_is_checked_at_each_address_with_its_own_host_header(service: StandIn) -> None:
    name = msgspec.structs.replace(spec(service).claim, host="both.example")
    check = CheckSpec("http", http_check(name), CheckPace(timeout_s=2.0, rise=1, fall=1))
    probe_at = CheckProbes()(name, check)
    assert probe_at is not None
    assert await probe_at(service.host)() == WELL
    assert f"Host: both.example:{service.port}\r\n" in service.requests[0]
    assert not (await result(probe_at("127.77.9.9"))).good


# -- trouble of the agent


def without_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_more: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", refuse)


async def test_a_check_without_a_free_descriptor_is_not_made(monkeypatch: pytest.MonkeyPatch, service: StandIn) -> None:
    probes = http_probe(service), tcp_probe(service), grpc_probe(service)
    without_descriptors(monkeypatch)
    for probe in probes:
        assert await probe() == NotChecked("Too many open files")


async def test_a_timeout_that_the_agent_itself_missed_is_no_failure(service: StandIn) -> None:
    service.silent.set()
    checking = asyncio.ensure_future(http_probe(service, timeout_s=0.5)())
    await eventually(lambda: bool(service.asked), "the request was sent")
    time.sleep(2.0)  # noqa: ASYNC251 - the loop of the agent stands still
    outcome = await checking
    assert isinstance(outcome, NotChecked)
    assert outcome.because.startswith("the agent itself stood still for ")


async def test_a_report_is_not_missed_while_the_agent_stands_still() -> None:
    statuses: list[Status] = []
    seen: list[CheckOutcome] = []
    checker = ReportedChecker(
        "night-batch",
        CheckSpec("ttl", TtlCheck()),
        TtlCheck(0.5),
        changed=lambda: statuses.append(checker.status_at("") or Status.CRITICAL),
        seen=seen.append,
    )
    checker.report(Status.PASSING, "")
    running = asyncio.ensure_future(checker.run())
    await asyncio.sleep(0)
    time.sleep(2.0)  # noqa: ASYNC251 - the loop of the agent stands still
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert statuses == [Status.PASSING]
    await eventually(lambda: statuses == [Status.PASSING, Status.CRITICAL], "the time to report starts anew")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(seen) == 2


# -- floods


FLOODS = {
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", "it sends more than 8 interim responses"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n", "the head of its answer has more than 32768 bytes"),
    "a header": (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 100, "the head of its answer has more than 32768 bytes"),
    "empty lines": (b"", b"\r\n", "the head of its answer has more than 32768 bytes"),
    "noise": (b"", b"\0\1\2\3", "its answer is not HTTP/1.1"),
    "small chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"00000001;x=yyyyyyyyyyyyyy\r\nx\r\n",
        "its answer has more than 65536 bytes",
    ),
    "a body": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100, "the first 16384 bytes of the body did not match 'ready'"),
    "a compressed body": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(1_000_000)),
        bytes(100),
        "the first 16384 bytes of the body did not match 'ready'",
    ),
}


@contextlib.asynccontextmanager
async def serving(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[StandIn]:
    """Run a service that answers every connection in that way, without reading anything."""
    answering: set[asyncio.Task[None]] = set()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await answer(writer)
        writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.ensure_future(serve(reader, writer)))

    service = StandIn("127.77.0.4")
    server = await asyncio.start_server(accept, service.host, 0)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering)


@pytest.mark.parametrize("flood", FLOODS)
async def test_an_endless_answer_ends_the_check_after_a_bounded_part_of_it(flood: str) -> None:
    start, more, because = FLOODS[flood]
    sent = 0

    async def flood_it(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(start)
        while True:
            writer.write(more * (10_000 // len(more)))
            await writer.drain()
            sent += 10_000

    async with serving(flood_it) as service:
        assert (await result(http_probe(service, 30.0, body="ready"))).because.endswith(because)
    # What the system's buffers take counts as sent.
    assert sent < 20_000_000


async def test_an_answer_in_drips_takes_no_longer_than_the_timeout() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            await asyncio.sleep(0.01)
            writer.write(b"y")
            await writer.drain()

    async with serving(drip) as service:
        assert await http_probe(service, 0.3)() == critical("no answer within 0.3 s")


# -- options of an http check


@pytest.mark.parametrize(("status", "good"), [(200, False), (301, True), (404, True), (410, False)])
async def test_the_passing_statuses_can_be_configured(service: StandIn, status: int, good: bool) -> None:
    service.status = status
    assert (await result(http_probe(service, statuses=((301, 301), (401, 404))))).good is good


async def test_the_body_must_match(service: StandIn) -> None:
    probe = http_probe(service, body='"status": *"(ok|up)"')
    service.body = b'{"status": "up"}'
    assert await probe() == WELL
    service.body = b'{"status": "down"}'
    assert (await probe()).because == 'HTTP 200, but the body did not match \'"status": *"(ok|up)"\''


async def test_the_body_is_searched_only_as_far_as_it_is_read(service: StandIn) -> None:
    probe = http_probe(service, body="end")
    service.body = b"x" * 16_381 + b"end"
    assert await probe() == WELL
    service.body = b"x" * 16_382 + b"end"
    assert "the first 16384 bytes of the body" in (await probe()).because


async def test_a_long_search_does_not_block_the_loop() -> None:
    draw = random.Random(3)
    body = "".join(draw.choice("ab") for _ in range(MAX_BODY_BYTES))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    # RE2 searches for 70 ms: on the loop, that would block everything else.
    assert not await matches(Pattern("a[ab]{200}c"), body, 10.0)
    counting.cancel()
    assert turns >= 3


async def test_a_search_is_abandoned_with_its_check(monkeypatch: pytest.MonkeyPatch, service: StandIn) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr("agent.checks.http.STEPS_AT_ONCE", 0)
    monkeypatch.setattr(Pattern, "is_in", lambda *_: goes_on.wait(10))
    probe = http_probe(service, timeout_s=0.2, body="ok")
    assert await probe() == NotChecked("the body could not be searched within 0.2 s")
    goes_on.set()


async def test_method_and_headers_come_from_the_configuration(service: StandIn) -> None:
    service.body = b""
    probe = http_probe(service, method="HEAD", headers=(("Host", "billing.example"), ("X-Check", "1")))
    assert await probe() == WELL
    assert service.requests[0].startswith("HEAD /health HTTP/1.1\r\n")
    assert "Host: billing.example\r\n" in service.requests[0]
    assert "X-Check: 1\r\n" in service.requests[0]


async def test_a_certificate_is_verified_on_request(certificate: tuple[Path, str]) -> None:
    key_and_certificate, pem = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_and_certificate)
    async with stand_in(tls=context) as service:
        unchecked = http_probe(service, tls=Tls())
        signed = http_probe(service, tls=Tls(verify=True, ca_pem=pem, server_name="billing.example"))
        unknown = http_probe(service, tls=Tls(verify=True))
        misnamed = http_probe(service, tls=Tls(verify=True, ca_pem=pem, server_name="other.example"))
        by_address = http_probe(service, tls=Tls(verify=True, ca_pem=pem))
        assert await unchecked() == WELL
        assert await signed() == WELL
        for probe in (unknown, misnamed, by_address):
            assert "certificate" in (await probe()).because.lower()


async def test_what_is_read_over_tls_is_limited_with_all_its_records(
    monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, str]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[0])
    async with stand_in(tls=context) as service:
        assert await http_probe(service, tls=Tls())() == WELL
        monkeypatch.setattr("agent.checks.connection.MAX_OCTETS", 500)  # less than the certificate has
        assert await http_probe(service, tls=Tls())() == critical("it sends 500 bytes and more")


async def test_a_connection_that_ends_during_the_tls_handshake_is_critical() -> None:
    async def close(_writer: asyncio.StreamWriter) -> None:
        pass

    async with serving(close) as service:
        found = await result(http_probe(service, tls=Tls()))
    assert not found.good
    assert "closed during the TLS handshake" in found.because or "reset" in found.because


# -- rows of results


class Script:
    """A probe that returns results in order, and then the last one for ever."""

    def __init__(self, *results: bool | Exception | NotChecked) -> None:
        self.results = list(results)
        self.asked = 0

    async def __call__(self) -> CheckOutcome:
        self.asked += 1
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        if isinstance(result, NotChecked):
            return result
        return WELL if result else critical("bad")


class NoJitter:
    def random(self) -> float:
        return 0.5


async def at_one_address() -> tuple[str, ...]:
    return ("10.0.0.7",)


async def checked(*probes: Probe, until: int, pace: CheckPace = FAST) -> list[Status]:
    """Return the statuses of a service whose checks had `until` results."""
    statuses: list[Status] = []
    seen: list[CheckOutcome] = []
    by_name = {f"tcp-{number}": probe for number, probe in enumerate(probes)}
    checks = ServiceChecks(
        "osint",
        [CheckSpec(name, TcpCheck(), pace) for name in by_name],
        lambda check: lambda _address: by_name[check.name],
        locate=at_one_address,
        changed=lambda status, _because: statuses.append(status),
        seen=lambda _kind, result: seen.append(result),
        random=NoJitter(),
    )
    task = asyncio.create_task(checks.run())
    await eventually(lambda: len(seen) >= until, f"{until} results")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return statuses


async def test_only_changes_of_the_verdict_are_reported() -> None:
    probe = Script(True, True, False, True, False, False, False, True, True)
    assert await checked(probe, until=9) == [Status.PASSING, Status.CRITICAL, Status.PASSING]


async def test_an_unexpected_failure_of_a_check_does_not_end_the_checks() -> None:
    with capture_logs() as lines:
        assert await checked(Script(RuntimeError("odd"), True), until=1) == [Status.PASSING]
    assert [line["event"] for line in lines] == ["check_failed"]


OURS = NotChecked("Too many open files")


async def test_trouble_of_the_agent_changes_no_verdict() -> None:
    assert await checked(Script(True, OURS, OURS, OURS), until=30) == [Status.PASSING]
    assert await checked(Script(False, False, OURS), until=30) == [Status.CRITICAL]
    assert await checked(Script(OURS), until=30) == []
    # It interrupts no row of results either.
    assert await checked(Script(True, False, OURS, OURS, False), until=5) == [Status.PASSING, Status.CRITICAL]


async def test_no_memory_is_trouble_of_the_agent() -> None:
    with capture_logs() as lines:
        assert await checked(Script(True, MemoryError(), MemoryError(), MemoryError()), until=30) == [Status.PASSING]
    assert lines == []


async def test_the_worst_of_several_checks_counts() -> None:
    statuses = await checked(Script(True), Script(True, False, False, False, True, True), until=40)
    assert statuses == [Status.PASSING, Status.CRITICAL, Status.PASSING]


async def test_a_flapping_service_is_held_critical_for_a_while() -> None:
    flapping = [True, False] * 4
    pace = CheckPace(
        interval_s=0.01, timeout_s=0.01, rise=1, fall=1, flaps=FlapLimits(changes=3, window_s=60.0, hold_s=0.3)
    )
    with capture_logs() as lines:
        statuses = await checked(Script(*flapping, True), until=80, pace=pace)
    assert statuses == [Status.PASSING, Status.CRITICAL, Status.PASSING, Status.CRITICAL, Status.PASSING]
    assert [line["event"] for line in lines] == ["check_flaps"]


async def test_the_first_result_waits_for_the_initial_delay_and_no_longer_than_an_interval_after_it() -> None:
    loop = asyncio.get_running_loop()
    probe = Script(True)
    began = loop.time()
    await checked(probe, until=1, pace=CheckPace(interval_s=5.0, timeout_s=5.0, initial_delay_s=0.2))
    assert loop.time() - began >= 0.2
    assert probe.asked == 1
