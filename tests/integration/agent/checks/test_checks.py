"""The checks, against services that answer well, badly, elsewhere, endlessly or not at all."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from agent.checks.flapping import FlapLimits
from agent.checks.group import ServiceChecks
from agent.checks.pattern import Pattern
from agent.checks.probes import MAX_READ_BYTES, HttpProbe, TcpProbe, check_session, matches
from agent.checks.result import WELL, CheckResult, Probe, critical
from agent.checks.spec import CheckPace, CheckSpec, HttpCheck, TcpCheck, Tls
from registry_core.domain.records import Protocol, Status
from registry_core.resolution import HostResolver, Resolver
from tests.integration.agents import StandIn, http_check, spec, stand_in
from tests.programs import eventually


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with check_session(HostResolver()) as session:
        yield session


@pytest_asyncio.fixture
async def service() -> AsyncIterator[StandIn]:
    async with stand_in() as running:
        yield running


def http_probe(http: aiohttp.ClientSession, service: StandIn, timeout_s: float = 2.0, **how: Any) -> HttpProbe:
    claim = spec(service).claim
    return HttpProbe(http, claim, http_check(claim, **how), timeout_s)


def tcp_probe(service: StandIn, timeout_s: float = 2.0, resolver: HostResolver | None = None) -> TcpProbe:
    return TcpProbe(resolver or HostResolver(), spec(service).claim, timeout_s)


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_an_answer_of_2xx_is_passing(http: aiohttp.ClientSession, service: StandIn, status: int) -> None:
    service.status, service.body = status, b"" if status == 204 else b"ok"
    probe = HttpProbe(http, spec(service).claim, HttpCheck(path="/health?deep=1%20x"), 2.0)
    assert await probe() == WELL
    assert service.asked == ["/health?deep=1%20x"]


@pytest.mark.parametrize("status", [301, 404, 500, 503])
async def test_any_other_answer_is_critical_and_named(
    http: aiohttp.ClientSession, service: StandIn, status: int
) -> None:
    service.status = status
    assert await http_probe(http, service)() == critical(f"HTTP {status}")


async def test_a_redirect_is_not_followed(http: aiohttp.ClientSession, service: StandIn) -> None:
    async with stand_in("127.77.0.2") as elsewhere:
        service.status = 302
        service.headers = f"Location: http://{elsewhere.host}:{elsewhere.port}/health\r\n"
        assert not (await http_probe(http, service, 2.0)()).good
        assert elsewhere.asked == []


async def test_a_silent_service_is_critical_after_the_timeout(http: aiohttp.ClientSession, service: StandIn) -> None:
    service.silent.set()
    result = await http_probe(http, service, 0.05)()
    assert result == critical("no answer within 0.05 s")


async def test_only_the_start_of_a_huge_answer_is_read(http: aiohttp.ClientSession, service: StandIn) -> None:
    service.body = b"x" * 20_000_000
    assert (await http_probe(http, service, 5.0)()).good


async def test_a_closed_port_is_critical(http: aiohttp.ClientSession, service: StandIn) -> None:
    await service.stop()
    for probe in (http_probe(http, service, 2.0), tcp_probe(service, 2.0)):
        result = await probe()
        assert not result.good
        assert result.because == "Connection refused"


async def test_an_answer_that_is_not_http_is_critical(http: aiohttp.ClientSession) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.77.0.3", 0)
    odd = StandIn("127.77.0.3")
    odd.port = server.sockets[0].getsockname()[1]
    try:
        assert not (await http_probe(http, odd, 2.0)()).good
        assert (await tcp_probe(odd, 2.0)()).good
        https = spec(odd, protocol=Protocol.HTTPS)
        assert not (await HttpProbe(http, https.claim, http_check(https.claim), 2.0)()).good
    finally:
        server.close()


async def test_a_name_that_does_not_resolve_is_critical(http: aiohttp.ClientSession) -> None:
    nowhere = StandIn("nowhere.invalid")
    nowhere.port = 8034
    assert not (await http_probe(http, nowhere, 2.0)()).good
    assert not (await tcp_probe(nowhere, 2.0)()).good


async def test_a_hanging_name_server_makes_a_check_critical_in_time(service: StandIn) -> None:
    hangs = threading.Event()

    def lookup(_host: str) -> list[str]:
        hangs.wait(30)
        return []

    resolver = HostResolver(Resolver(lookup))
    service.host = "slow.example"
    try:
        async with check_session(resolver) as http:
            for probe in (http_probe(http, service, 0.05), tcp_probe(service, 0.05, resolver)):
                assert "within 0.05 s" in (await probe()).because
    finally:
        hangs.set()


async def test_many_names_are_resolved_one_after_the_other_and_none_is_refused() -> None:
    resolver = HostResolver(Resolver(lambda host: [f"10.0.0.{host[4:]}", "2001:db8::1"]))
    found = await asyncio.gather(*(resolver.resolve(f"host{n}", 80) for n in range(100)))
    assert [[r["host"] for r in results] for results in found] == [[f"10.0.0.{n}", "2001:db8::1"] for n in range(100)]
    only_six = await resolver.resolve("host1", 80, socket.AF_INET6)
    assert [r["host"] for r in only_six] == ["2001:db8::1"]


async def test_a_tcp_check_tries_every_address(service: StandIn) -> None:
    resolver = HostResolver(Resolver(lambda _host: ["127.77.9.9", service_host]))
    service_host, service.host = service.host, "both.example"
    assert (await tcp_probe(service, 2.0, resolver)()).good


# -- options of an http check


@pytest.mark.parametrize(("status", "good"), [(200, False), (301, True), (404, True), (410, False)])
async def test_the_passing_statuses_can_be_configured(
    http: aiohttp.ClientSession, service: StandIn, status: int, good: bool
) -> None:
    service.status = status
    assert (await http_probe(http, service, statuses=((301, 301), (401, 404)))()).good is good


async def test_the_body_must_match(http: aiohttp.ClientSession, service: StandIn) -> None:
    probe = http_probe(http, service, body='"status": *"(ok|up)"')
    service.body = b'{"status": "up"}'
    assert await probe() == WELL
    service.body = b'{"status": "down"}'
    assert (await probe()).because == 'HTTP 200, but the body did not match \'"status": *"(ok|up)"\''


async def test_the_body_is_searched_only_as_far_as_it_is_read(http: aiohttp.ClientSession, service: StandIn) -> None:
    probe = http_probe(http, service, body="end")
    service.body = b"x" * 16_381 + b"end"
    assert await probe() == WELL
    service.body = b"x" * 16_382 + b"end"
    assert "the first 16384 bytes of the body" in (await probe()).because


async def test_a_long_search_does_not_block_the_loop() -> None:
    draw = random.Random(3)
    body = "".join(draw.choice("ab") for _ in range(MAX_READ_BYTES))
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


async def test_a_search_is_abandoned_with_its_check(
    monkeypatch: pytest.MonkeyPatch, http: aiohttp.ClientSession, service: StandIn
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr("agent.checks.probes.STEPS_AT_ONCE", 0)
    monkeypatch.setattr(Pattern, "is_in", lambda *_: goes_on.wait(10))
    probe = http_probe(http, service, timeout_s=0.2, body="ok")
    assert (await probe()).because == "HTTP 200, but the body could not be searched within 0.2 s"
    goes_on.set()


async def test_method_and_headers_come_from_the_configuration(service: StandIn) -> None:
    service.body = b""
    async with check_session(HostResolver()) as http:
        probe = http_probe(http, service, method="HEAD", headers=(("Host", "billing.example"), ("X-Check", "1")))
        assert await probe() == WELL
    assert service.requests[0].startswith("HEAD /health HTTP/1.1\r\n")
    assert "Host: billing.example\r\n" in service.requests[0]
    assert "X-Check: 1\r\n" in service.requests[0]


async def test_a_certificate_is_verified_on_request(http: aiohttp.ClientSession, certificate: tuple[Path, str]) -> None:
    key_and_certificate, pem = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_and_certificate)
    async with stand_in(tls=context) as service:
        whoever = http_probe(http, service, tls=Tls())
        signed = http_probe(http, service, tls=Tls(verify=True, ca_pem=pem, server_name="billing.example"))
        unknown = http_probe(http, service, tls=Tls(verify=True))
        misnamed = http_probe(http, service, tls=Tls(verify=True, ca_pem=pem, server_name="other.example"))
        by_address = http_probe(http, service, tls=Tls(verify=True, ca_pem=pem))
        assert await whoever() == WELL
        assert await signed() == WELL
        for probe in (unknown, misnamed, by_address):
            assert "certificate" in (await probe()).because.lower()


# -- rows of results


class Script:
    """A probe that returns results in order, and then the last one for ever."""

    def __init__(self, *results: bool | Exception) -> None:
        self.results = list(results)
        self.asked = 0

    async def __call__(self) -> CheckResult:
        self.asked += 1
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return WELL if result else critical("bad")


class NoJitter:
    def random(self) -> float:
        return 0.5


FAST = CheckPace(interval_s=0.01, timeout_s=0.01)


async def checked(*probes: Probe, until: int, pace: CheckPace = FAST) -> list[Status]:
    """Return the statuses of a service whose checks had `until` results."""
    statuses: list[Status] = []
    seen: list[CheckResult] = []
    by_name = {f"tcp-{number}": probe for number, probe in enumerate(probes)}
    checks = ServiceChecks(
        "osint",
        [CheckSpec(name, TcpCheck(), pace) for name in by_name],
        lambda check: by_name[check.name],
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
