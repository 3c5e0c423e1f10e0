"""A known but unheld service is read from a real registry on demand, and other lookups do not wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from agent.view.loader import MAX_LOADS, ServiceLoader
from agent.view.lru import ViewLimits
from agent.view.view import AgentView
from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Position, Registered
from registry_core.ports.clock import SystemClock
from registry_core.supervision import Background
from registry_core.upstreams.requests import RegistryRequests
from registry_core.watch.cursor import cursor_of
from tests.integration.agents import QUICK, AgentUnderTest, becomes, standing
from tests.integration.replicas import Api
from tests.programs import eventually
from tests.samples import instance, lived
from tests.watch_lines import at, event_of_version_1, snapshot

LITTLE = msgspec.structs.replace(QUICK, view=ViewLimits(services=1))


@contextlib.asynccontextmanager
async def in_little_room(api: Api) -> AsyncIterator[AgentUnderTest]:
    await api.register("osint_service", "10.0.0.1")
    await api.register("geo", "10.0.0.2")
    async with standing(api.url, settings=LITTLE) as agent:
        await eventually(lambda: agent.sidecar.view.known == 2, "it knows both")
        yield agent


async def test_each_lookup_is_answered_with_room_for_one_service(api: Api) -> None:
    async with in_little_room(api) as agent:
        for _ in range(3):
            assert await agent.addresses("geo") == ["10.0.0.2"]
            assert (await agent.get("/services/osint_service")).body["host"] == "10.0.0.1"
            assert (await agent.get("/resolve/geo?format=hostport")).body == b"10.0.0.2:8034\n"
        assert agent.sidecar.view.catalog.service_count == 1
        assert (await agent.get("/services")).body == ["geo", "osint_service"]
        assert agent.sidecar.view.trust.mismatches == 0


async def test_a_registration_after_a_service_was_read_is_applied_once(api: Api) -> None:
    async with in_little_room(api) as agent:
        assert await agent.addresses("geo") == ["10.0.0.2"]
        await api.register("geo", "10.0.0.3")
        await becomes(lambda: agent.addresses("geo"), ["10.0.0.2", "10.0.0.3"])
        api.replica.hub.tick()
        await eventually(lambda: agent.sidecar.view.complete, "it adds up")
        assert agent.sidecar.view.snapshots == 1


async def test_many_concurrent_lookups_cause_one_reading(api: Api) -> None:
    async with in_little_room(api) as agent:
        answers = await asyncio.gather(*(agent.get("/services/geo") for _ in range(20)))
        assert {answer.status for answer in answers} == {200}
        text = (await agent.get("/metrics")).body.decode()
        assert 'agent_view_loads_total{outcome="read"} 1.0' in text


async def test_a_fleet_that_fits_again_is_loaded_again(api: Api) -> None:
    async with in_little_room(api) as agent:
        view = agent.sidecar.view
        await agent.addresses("geo")
        await api.call("DELETE", "/deregister/geo")
        await eventually(lambda: view.known == 1, "one has gone")
        for label in view.tidy(10):
            assert view.fetcher is not None
            view.fetcher(label)
        await eventually(lambda: view.holds_all, "the other is held again")
        assert view.catalog.names() == ["osint_service"]


# -- a misbehaving registry


class Deaf:
    """A server that accepts requests and answers with `sent`, or not at all."""

    def __init__(self, sent: bytes = b"") -> None:
        self.sent = sent
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.sent)
            await writer.drain()
            if not self.sent:
                await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def loading(sent: bytes = b"") -> AsyncIterator[tuple[ServiceLoader, AgentView, Deaf]]:
    deaf = Deaf(sent)
    server = await asyncio.start_server(deaf.serve, "127.0.0.1", 0)
    deaf.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    view = AgentView(SystemClock(), room=ViewLimits(services=1, bytes=20_000))
    staging = view.staging()
    staging.add([lived(instance("osint_service")), lived(instance("geo", "10.0.0.2"))])
    view._cache.replace(*staging.taken())
    view.cursor = cursor_of([Position(0, "e", 1)])
    async with aiohttp.ClientSession() as session:
        loader = ServiceLoader(
            RegistryRequests(session), view, registry=lambda: deaf.url or None, background=Background()
        )
        view.fetcher = loader.fetch
        try:
            yield loader, view, deaf
        finally:
            await loader.close()
            server.close()


async def test_a_lookup_is_answered_in_time_although_the_registry_is_silent() -> None:
    async with loading() as (loader, view, _):
        waiting = view.fetch("geo")
        assert waiting is not None
        await asyncio.wait_for(waiting, 20.0)
        assert view.lacks("geo")
        assert len(loader._loads) == 1, "it is still being read, for later lookups"


async def test_a_lookup_does_not_wait_without_a_reachable_registry() -> None:
    async with loading() as (loader, view, deaf):
        deaf.url = ""
        assert view.fetch("geo") is None
        assert view.fetch("osint_service") is None, "it is held"
        assert loader.failures == 0


async def test_pending_lookups_are_answered_at_once_at_the_end() -> None:
    async with loading() as (loader, view, _):
        waiting = view.fetch("geo")
        await loader.close()
        assert waiting is not None
        assert waiting.done()


async def test_concurrent_readings_are_bounded() -> None:
    async with loading() as (loader, _, __):
        assert all(loader.begin(f"service-{n}") for n in range(MAX_LOADS))
        assert not loader.begin("one-more")
        assert loader.refusals == 1


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", id="busy"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nno json\n", id="no stream"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + b"\n" * 30000, id="too large"),
        pytest.param(b"no HTTP at all\r\n\r\n", id="no HTTP"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\n"
            b'{"type":"snapshot","reason":"","first":true,"last":true,"state":"warming","cursor":"0.e.1",'
            b'"digest":"0000000000000000"}\n',
            id="a registry that does not know yet",
        ),
    ],
)
async def test_an_invalid_answer_leaves_the_service_missing(sent: bytes) -> None:
    async with loading(sent) as (loader, view, _):
        waiting = view.fetch("geo")
        assert waiting is not None
        await waiting
        await eventually(lambda: loader.failures == 1, "it failed")
        assert view.lacks("geo")
        assert view.services.names() == ["geo", "osint_service"]


@pytest.mark.parametrize("behind", [b"", b"garbage\n", b'{"type":"sync"}\n'])
async def test_events_of_a_service_during_its_reading_do_not_discard_it(behind: bytes) -> None:
    """A previous release's registry sends the service's events, without those of others between them."""
    record = instance("geo", "10.0.0.2")
    catalog = Catalog()
    catalog.merge([lived(record)])
    begun = b"".join(snapshot([lived(record)], cursor=cursor_of([at(7, "e")]), digest=catalog.digest))
    more = event_of_version_1(Registered(at(12, "e"), record, 1.0), "geo", cursor_of([at(12, "e")]))
    async with loading(b"HTTP/1.1 200 OK\r\n\r\n" + begun + more + behind) as (loader, view, _):
        waiting = view.fetch("geo")
        assert waiting is not None
        await waiting
        assert not view.lacks("geo")
        assert loader.failures == 0


async def test_a_constantly_changing_service_is_read_from_a_real_registry(api: Api) -> None:
    async with in_little_room(api) as agent:
        changing = asyncio.create_task(_keeps_changing(api))
        try:
            for _ in range(10):
                assert (await agent.get("/services/geo")).status == 200
                assert (await agent.get("/services/osint_service")).status == 200
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)
        assert agent.sidecar.view.trust.mismatches == 0


async def _keeps_changing(api: Api) -> None:
    for number in itertools.count():
        await api.register("geo", "10.0.0.2", metadata={"number": number})
        await api.register("osint_service", "10.0.0.1", metadata={"number": number})
        await asyncio.sleep(0)
