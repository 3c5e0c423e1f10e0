"""The checks, against services that answer well, badly, elsewhere, endlessly or not at all."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from agent.checks.checker import Checker, CheckPace
from agent.checks.probes import CheckResult, HttpProbe, Probe, TcpProbe, check_session, probe_for
from agent.resolving import HostResolver
from agent.setting_table import CheckKind
from registry_core.api.resolution import Resolver
from registry_core.domain.records import Protocol, Status
from tests.integration.agents import StandIn, spec, stand_in
from tests.programs import eventually


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with check_session(HostResolver()) as session:
        yield session


@pytest_asyncio.fixture
async def service() -> AsyncIterator[StandIn]:
    async with stand_in() as running:
        yield running


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_well_is_who_answers_2xx(http: aiohttp.ClientSession, service: StandIn, status: int) -> None:
    service.status, service.body = status, b"" if status == 204 else b"ok"
    probe = HttpProbe(http, spec(service, health_endpoint="/health?deep=1%20x"), 2.0)
    assert await probe() == CheckResult(good=True)
    assert service.asked == ["/health?deep=1%20x"]


@pytest.mark.parametrize("status", [301, 404, 500, 503])
async def test_any_other_answer_is_bad_and_says_which(
    http: aiohttp.ClientSession, service: StandIn, status: int
) -> None:
    service.status = status
    assert await HttpProbe(http, spec(service), 2.0)() == CheckResult(good=False, because=f"HTTP {status}")


async def test_a_redirect_is_not_followed(http: aiohttp.ClientSession, service: StandIn) -> None:
    async with stand_in("127.77.0.2") as elsewhere:
        service.status = 302
        service.headers = f"Location: http://{elsewhere.host}:{elsewhere.port}/health\r\n"
        assert not (await HttpProbe(http, spec(service), 2.0)()).good
        assert elsewhere.asked == []


async def test_a_silent_service_is_bad_when_the_time_is_over(http: aiohttp.ClientSession, service: StandIn) -> None:
    service.silent.set()
    result = await HttpProbe(http, spec(service), 0.05)()
    assert result == CheckResult(good=False, because="no answer within 0.05 s")


async def test_only_the_beginning_of_a_huge_answer_is_read(http: aiohttp.ClientSession, service: StandIn) -> None:
    service.body = b"x" * 20_000_000
    assert (await HttpProbe(http, spec(service), 5.0)()).good


async def test_who_does_not_listen_is_bad(http: aiohttp.ClientSession, service: StandIn) -> None:
    await service.stop()
    for probe in (HttpProbe(http, spec(service), 2.0), TcpProbe(HostResolver(), spec(service), 2.0)):
        result = await probe()
        assert not result.good
        assert result.because


async def test_what_is_no_http_is_bad(http: aiohttp.ClientSession) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.77.0.3", 0)
    odd = StandIn("127.77.0.3")
    odd.port = server.sockets[0].getsockname()[1]
    try:
        assert not (await HttpProbe(http, spec(odd), 2.0)()).good
        assert (await TcpProbe(HostResolver(), spec(odd), 2.0)()).good
        https = spec(odd, protocol=Protocol.HTTPS)
        assert not (await HttpProbe(http, https, 2.0)()).good
    finally:
        server.close()


async def test_a_name_that_does_not_resolve_is_bad(http: aiohttp.ClientSession) -> None:
    nowhere = StandIn("nowhere.invalid")
    nowhere.port = 8034
    assert not (await HttpProbe(http, spec(nowhere), 2.0)()).good
    assert not (await TcpProbe(HostResolver(), spec(nowhere), 2.0)()).good


async def test_a_name_server_that_hangs_makes_a_check_bad_in_time(service: StandIn) -> None:
    hangs = threading.Event()

    def lookup(_host: str) -> list[str]:
        hangs.wait(30)
        return []

    resolver = HostResolver(Resolver(lookup))
    service.host = "slow.example"
    try:
        async with check_session(resolver) as http:
            for probe in (HttpProbe(http, spec(service), 0.05), TcpProbe(resolver, spec(service), 0.05)):
                assert "within 0.05 s" in (await probe()).because
    finally:
        hangs.set()


async def test_many_names_at_once_are_resolved_one_after_the_other_and_none_is_turned_away() -> None:
    resolver = HostResolver(Resolver(lambda host: [f"10.0.0.{host[4:]}", "2001:db8::1"]))
    found = await asyncio.gather(*(resolver.resolve(f"host{n}", 80) for n in range(100)))
    assert [[r["host"] for r in results] for results in found] == [[f"10.0.0.{n}", "2001:db8::1"] for n in range(100)]
    only_six = await resolver.resolve("host1", 80, socket.AF_INET6)
    assert [r["host"] for r in only_six] == ["2001:db8::1"]


async def test_a_tcp_check_tries_every_address(service: StandIn) -> None:
    resolver = HostResolver(Resolver(lambda _host: ["127.77.9.9", service_host]))
    service_host, service.host = service.host, "both.example"
    assert (await TcpProbe(resolver, spec(service), 2.0)()).good


async def test_each_kind_has_its_probe(http: aiohttp.ClientSession, service: StandIn) -> None:
    kinds = [type(probe_for(spec(service, check=kind), http, HostResolver(), 1.0)) for kind in CheckKind]
    assert kinds == [HttpProbe, TcpProbe, type(None)]


class Script:
    """A probe that gives results in order, and then the last one for ever."""

    def __init__(self, *results: bool | Exception) -> None:
        self.results = list(results)
        self.asked = 0

    async def __call__(self) -> CheckResult:
        self.asked += 1
        result = self.results.pop(0) if len(self.results) > 1 else self.results[0]
        if isinstance(result, Exception):
            raise result
        return CheckResult(result)


class NoJitter:
    def random(self) -> float:
        return 0.5


async def checked(probe: Probe, until: int) -> list[Status]:
    """Return the verdicts of a checker that has checked `until` times."""
    verdicts: list[Status] = []
    seen: list[CheckResult] = []
    checker = Checker(
        "osint",
        probe,
        CheckPace(interval_s=0.01),
        changed=lambda status, _result: verdicts.append(status),
        seen=seen.append,
        random=NoJitter(),
    )
    task = asyncio.create_task(checker.run())
    await eventually(lambda: len(seen) >= until, f"{until} results")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return verdicts


async def test_only_changes_of_the_verdict_are_told() -> None:
    probe = Script(True, True, False, True, False, False, False, True, True)
    assert await checked(probe, 9) == [Status.PASSING, Status.CRITICAL, Status.PASSING]


async def test_a_check_that_fails_in_an_unforeseen_way_does_not_end_the_checks() -> None:
    with capture_logs() as lines:
        assert await checked(Script(RuntimeError("odd"), True), 1) == [Status.PASSING]
    assert [line["event"] for line in lines] == ["check_failed"]
