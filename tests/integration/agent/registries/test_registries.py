"""Several registries: a failing one is left within a second, and a better one is used."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import aiohttp
import msgspec
import pytest

from agent.checks.spec import CheckKind
from agent.registration.decisions import RequestOutcome
from agent.registries.srv import RegistryLookup
from agent.settings.settings import read_agent_settings
from dns.forward_rules import read_rules
from dns.forwarding import Forwarder
from registry_core.domain.backoff import Backoff, Jitter
from registry_core.errors import SettingsError, StoreUnavailable
from registry_core.ports.clock import SystemClock
from registry_core.settings import Listen
from registry_core.upstreams.choice import Pace, Trouble, Use, Why
from registry_core.upstreams.probes import RegistryProbes
from registry_core.upstreams.requests import RegistryRequests
from tests.foreign import reply_to
from tests.integration.agents import QUICK, becomes, spec, stand_in, standing
from tests.integration.registries import SmallestDraw, registry_client_for, upstreams_at
from tests.integration.replicas import READY, Api, serving
from tests.programs import black_hole, eventually, free_port
from tests.resolvers import Resolver, Script, resolver
from tests.samples import claim


@contextlib.asynccontextmanager
async def deaf() -> AsyncIterator[str]:
    """Run a server that accepts every connection and stays silent, like a stopped one."""
    writers = []

    async def keep(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def test_a_write_goes_to_the_next_registry_when_no_connection_is_made(api: Api) -> None:
    with black_hole() as port:
        hole = f"http://127.0.0.1:{port}"
        async with registry_client_for([hole, api.url]) as registry:
            began = asyncio.get_running_loop().time()
            assert (await registry.register(claim("geo", epoch=5)))[0].outcome is RequestOutcome.DONE
            assert asyncio.get_running_loop().time() - began < 3.0, "the first limit is one second, not five"


async def test_a_write_goes_to_the_next_registry_when_there_is_no_answer(api: Api) -> None:
    async with deaf() as url, registry_client_for([url, api.url]) as registry:
        began = asyncio.get_running_loop().time()
        assert (await registry.register(claim("geo", epoch=5)))[0].outcome is RequestOutcome.DONE
        assert asyncio.get_running_loop().time() - began < 3.0


async def test_a_write_that_waits_for_the_store_of_a_living_registry_is_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked = api.replica.store, api.replica.store.register

    async def slowly(*args: object, **more: object) -> object:
        await asyncio.sleep(1.5)
        return await asked(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "register", slowly)
    async with serving() as other, registry_client_for([api.url, other.url]) as registry:
        assert (await registry.register(claim("geo", epoch=5)))[0].outcome is RequestOutcome.DONE
        assert len(api.replica.view.catalog) == 1
        assert len(other.replica.view.catalog) == 0


async def test_writes_leave_a_registry_that_cannot_write_and_the_watch_stays(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> object:
        raise StoreUnavailable("no master", retry_after_s=1.0)

    monkeypatch.setattr(api.replica.store, "register", away)
    async with (
        stand_in() as service,
        serving() as other,
        standing((api.url, other.url), spec(service, check=CheckKind.NONE)) as agent,
    ):
        await eventually(lambda: other.replica.view.catalog.names() == ["osint_service"], "the next one has it")
        about = (await agent.get("/self")).body
        assert about["sync"]["registry"] == api.url
        assert about["sync"]["losses"] == 0
        assert about["registries"]["watch"]["url"] == api.url
        assert about["registries"]["write"] == {"url": other.url, "why": "failed", "moves": 1}
        metrics = (await agent.get("/metrics")).body.decode()
        assert f'agent_registry_in_use{{registry="{api.url}",use="watch"}} 1.0' in metrics
        assert f'agent_registry_in_use{{registry="{other.url}",use="write"}} 1.0' in metrics
        assert f'agent_registry_failures_total{{registry="{api.url}",trouble="refusing"}} 1.0' in metrics


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let agents return almost at once; the waits themselves are tested with time as an argument."""
    monkeypatch.setattr("agent.sidecar.DEFAULT_PACE", Pace(rest_first_s=0.4, return_s=0.4, stay_s=0.4))


@pytest.mark.usefixtures("soon")
async def test_a_registry_that_came_back_is_used_again_for_the_watch_and_for_the_writes() -> None:
    where = Listen("127.0.0.1", free_port())
    first = f"http://{where}"
    async with (
        stand_in() as service,
        serving() as other,
        standing((first, other.url), spec(service, check=CheckKind.NONE)) as agent,
    ):
        upstreams = agent.sidecar.upstreams
        await eventually(lambda: other.replica.view.catalog.names() == ["osint_service"], "the next one has it")
        async with serving(msgspec.structs.replace(READY, listen=where)) as back:

            async def used() -> set[str]:
                report = upstreams.report()
                return {str(report.watch.url), str(report.write.url)}

            await becomes(used, {first}, timeout_s=40)
            await eventually(lambda: back.replica.view.catalog.names() == ["osint_service"], "it has it again", 40)
            assert upstreams.moves[Use.WRITE, Why.PREFERRED] == 1


@pytest.mark.usefixtures("soon")
async def test_a_registry_in_the_agents_zone_is_preferred_once_it_named_its_zone() -> None:
    there = msgspec.structs.replace(READY, zone="eu-1a")
    here = msgspec.structs.replace(READY, zone="eu-1b")
    async with serving(there) as far, serving(here) as near:
        assert (await far.call("GET", "/nowhere")).headers["X-Registry-Zone"] == "eu-1a"
        async with standing((far.url, near.url), settings=msgspec.structs.replace(QUICK, zone="eu-1b")) as agent:

            async def used() -> object:
                return (await agent.get("/self")).body["sync"]["registry"]

            await becomes(used, near.url, timeout_s=40)
            about = (await agent.get("/self")).body
            assert about["sync"]["losses"] == 0, "nothing had failed"
            assert {one["zone"] for one in about["registries"]["known"]} == {"eu-1a", "eu-1b"}
    async with serving() as anywhere:
        assert "X-Registry-Zone" not in (await anywhere.call("GET", "/live")).headers


async def test_a_zone_that_is_configured_counts_from_the_start() -> None:
    async with serving() as far, serving() as near:
        settings = msgspec.structs.replace(QUICK, zone="b")
        async with standing((f"{far.url}#zone=a", f"{near.url}#zone=b"), settings=settings) as agent:
            await eventually(lambda: agent.sidecar.view.trust.live, "it is connected")
            assert (await agent.get("/self")).body["sync"]["registry"] == near.url


async def test_a_silent_registry_is_dead_and_is_probed_once_for_all_waiters() -> None:
    async with deaf() as dead:
        upstreams = upstreams_at([dead, "http://127.0.0.1:1"])
        async with aiohttp.ClientSession() as session:
            probes = RegistryProbes(RegistryRequests(session), upstreams, SystemClock(), SmallestDraw())
            assert not await probes.lives(dead)
            assert list(await asyncio.gather(probes.lives(dead), probes.lives(dead))) == [False] * 2
            assert probes.asked == 2, "waiters for the same one probe once"
            await probes.close()


async def test_probes_are_few_and_find_unreachable_registries(api: Api) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    upstreams = upstreams_at([nobody, api.url])
    async with aiohttp.ClientSession() as session:
        probes = RegistryProbes(RegistryRequests(session), upstreams, SystemClock(), SmallestDraw())
        task = asyncio.create_task(probes.run())
        await eventually(lambda: not upstreams.is_reachable(nobody), "nobody is there")
        await eventually(lambda: upstreams.report().known[1].latency_seconds is not None, "the other is measured")
        assert upstreams.current(Use.WATCH) == upstreams.current(Use.WRITE) == api.url
        assert probes.asked == 3
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_single_registry_is_not_probed(api: Api) -> None:
    async with aiohttp.ClientSession() as session:
        upstreams = upstreams_at([api.url])
        probes = RegistryProbes(RegistryRequests(session), upstreams, SystemClock(), SmallestDraw())

        async def slow() -> str:
            await asyncio.sleep(0.7)
            return "done"

        assert await probes.patiently(api.url, Use.WRITE, slow()) == "done"
        assert probes.asked == 0


# -- SRV


def srv(*targets: str, ttl_s: int = 1, domain: str = "example") -> Script:
    """Return a resolver's script: these targets, and a host for none of them."""

    def script(query: bytes, _: str) -> Iterable[bytes]:
        lines = [f"_registry._tcp.{domain}. {ttl_s} IN SRV {target}" for target in targets]
        return [reply_to(query, *lines, rcode=0 if targets else 3)]

    return script


@contextlib.asynccontextmanager
async def looked_up(by: Resolver, *texts: str) -> AsyncIterator[RegistryLookup]:
    upstreams = upstreams_at([])
    forwarder = Forwarder(read_rules(f"127.0.0.1:{by.port}"), SystemClock())
    await forwarder.start()
    lookup = RegistryLookup(texts, upstreams, forwarder.look_up, SmallestDraw())
    task = asyncio.create_task(lookup.run())
    try:
        yield lookup
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await forwarder.close()


async def test_an_agent_finds_its_registries_by_srv(api: Api) -> None:
    port = api.replica.listen.port
    nobody = free_port()
    script = srv(f"0 5 {nobody} localhost.", f"1 5 {port} localhost.", ttl_s=300)
    async with resolver(script) as by, stand_in() as service:
        settings = msgspec.structs.replace(QUICK, dns_forward=read_rules(f"127.0.0.1:{by.port}"))
        url = "srv:_registry._tcp.example"
        async with standing(url, spec(service, check=CheckKind.NONE), settings=settings) as agent:
            await eventually(lambda: api.replica.view.catalog.names() == ["osint_service"], "it has registered")
            about = (await agent.get("/self")).body
            assert about["registry_names"] == [
                {"name": url, "targets": [f"localhost:{nobody}", f"localhost:{port}"], "problem": ""}
            ]
            assert [one["tier"] for one in about["registries"]["known"]] == [0, 1]


async def test_names_are_looked_up_again_and_kept_while_dns_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.registries.srv.TTL_LEAST_S", 0.05)
    monkeypatch.setattr("agent.registries.srv.RETRY", Backoff(0.05, 30.0, jitter=Jitter.HALF))
    async with (
        resolver(srv("0 5 1 a.example.", ttl_s=0)) as by,
        looked_up(by, "http://plain:8888", "srv:_registry._tcp.example") as lookup,
    ):
        known = lookup.upstreams
        await eventually(lambda: known.urls == ("http://plain:8888", "http://a.example:1"), "found")
        by.script = srv("0 5 2 b.example.", ttl_s=0)
        await eventually(lambda: known.urls == ("http://plain:8888", "http://b.example:2"), "found anew")
        by.script = srv()
        await eventually(lambda: lookup.report()[0].problem == "there is no such name", "it is gone")
        assert known.urls == ("http://plain:8888", "http://b.example:2")
        by.script = lambda *_: []
        await eventually(lambda: lookup.report()[0].problem == "no resolver answers", "DNS is away", 20)
        assert known.urls == ("http://plain:8888", "http://b.example:2")


async def test_a_ttl_is_honoured() -> None:
    async with (
        resolver(srv("0 5 1 a.example.", ttl_s=3000)) as by,
        looked_up(by, "srv:_registry._tcp.example") as lookup,
    ):
        await eventually(lambda: lookup.upstreams.urls == ("http://a.example:1",), "found")
        asked = len(by.names)
        lookup.use(["srv:_registry._tcp.example", "http://b:1"])
        assert lookup.upstreams.urls == ("http://a.example:1", "http://b:1"), "the found addresses are kept"
        await asyncio.sleep(0)
        assert len(by.names) == asked


def test_a_registry_name_in_the_agents_own_zone_is_refused_by_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"names under vertice\.internal are answered here"):
        read_agent_settings({"REGISTRY_URL": "srv:_registry._tcp.vertice.internal"})


def test_failures_are_counted_by_kind() -> None:
    upstreams = upstreams_at(["http://a:1", "http://b:1"])
    upstreams.failed("http://a:1", Use.WRITE, Trouble.REFUSING, "503")
    upstreams.failed("http://a:1", Use.WATCH, Trouble.SILENT, "nothing")
    upstreams.failed("http://unknown:1", Use.WATCH, Trouble.SILENT, "nothing")
    assert upstreams.report().known[0].failures == {Trouble.SILENT: 1, Trouble.REFUSING: 1}
    assert upstreams.moves == {(Use.WRITE, Why.FAILED): 1, (Use.WATCH, Why.FAILED): 1}


async def test_an_answer_that_comes_just_as_its_asker_is_cancelled_is_given_back() -> None:
    given_back: list[str] = []
    arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def request() -> str:
        return await arrived

    async with aiohttp.ClientSession() as session:
        upstreams = upstreams_at(["http://127.0.0.1:1"])
        probes = RegistryProbes(RegistryRequests(session), upstreams, SystemClock(), SmallestDraw())
        asking = probes.patiently("http://127.0.0.1:1", Use.WATCH, request(), unwanted=given_back.append)
        asked = asyncio.ensure_future(asking)
        await asyncio.sleep(0.01)
        arrived.set_result("the answer")
        await asyncio.sleep(0)  # the request ends, and nobody has been told of it yet
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert given_back == ["the answer"]
