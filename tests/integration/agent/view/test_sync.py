"""The watch client against real registries: how it breaks, and how it continues."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from structlog.testing import capture_logs

from agent.registries.client import RegistryClient
from agent.view.sync import MOST_RETRY_AFTER_S, WatchSync
from agent.view.view import AgentView
from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Position
from registry_core.ports.clock import SystemClock
from registry_core.settings import Listen
from registry_core.upstreams.choice import Use
from registry_core.upstreams.probes import RegistryProbes
from registry_core.upstreams.requests import RegistryRequests
from registry_core.upstreams.retries import WATCH_RETRY
from registry_core.watch.changes import Replaced
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.limits import ACK_EVERY_HEADER, LEAST_ACK_EVERY_S, MOST_ACK_EVERY_S, PROTOCOL
from registry_core.watch.lines import goodbye_line
from registry_core.watch.packing import packed
from tests.integration.agents import line_to
from tests.integration.registries import SmallestDraw, upstreams_at
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually, free_port
from tests.samples import instance, lived
from tests.watch_lines import snapshot, sync


class Following:
    """A running watch client, and the view that it fills."""

    def __init__(self, session: aiohttp.ClientSession, urls: tuple[str, ...], silence_s: float) -> None:
        self.view = AgentView(SystemClock())
        self.asserted = 0
        self.upstreams = upstreams_at(urls)
        requests = RegistryRequests(session)
        self.probes = RegistryProbes(requests, self.upstreams, SystemClock(), SmallestDraw())
        self.sync = WatchSync(
            requests,
            self.upstreams,
            self.probes,
            self.view,
            RegistryClient(requests, self.upstreams, self.probes, SystemClock()),
            reassert=self._reassert,
            clock=SystemClock(),
            random=SmallestDraw(),
            silence_s=silence_s,
        )

    def _reassert(self) -> None:
        self.asserted += 1

    async def names_are(self, *names: str) -> None:
        await eventually(lambda: self.view.catalog.names() == sorted(names), f"the view has just {names}")


@contextlib.asynccontextmanager
async def following(*urls: str, silence_s: float = 15.0) -> AsyncIterator[Following]:
    async with aiohttp.ClientSession() as session:
        following_ = Following(session, urls, silence_s)
        task = asyncio.create_task(following_.sync.run())
        try:
            yield following_
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await following_.probes.close()


class Odd:
    """A server that sends scripted bytes on every connection, and then waits."""

    def __init__(self, sent: bytes) -> None:
        self.sent = sent
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.sent)
            await writer.drain()
            await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def odd_registry(sent: bytes) -> AsyncIterator[Odd]:
    odd = Odd(sent)
    server = await asyncio.start_server(odd.serve, "127.0.0.1", 0)
    odd.port = server.sockets[0].getsockname()[1]
    try:
        yield odd
    finally:
        server.close()


def at(revision: int) -> Cursor:
    return cursor_of([Position(0, "e", revision)])


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"


async def test_changes_at_the_registry_arrive_over_the_watch(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1")
    async with following(api.url) as agent:
        await agent.names_are("osint_service")
        await api.register("geo", "10.0.0.2")
        await agent.names_are("geo", "osint_service")
        await api.call("DELETE", "/deregister/geo")
        await agent.names_are("osint_service")
        assert agent.view.snapshots == 1
        assert agent.sync.connected_to == api.url


async def test_a_broken_stream_is_resumed_where_it_ended(api: Api) -> None:
    async with line_to(api.replica.listen.port) as line, following(line.url) as agent:
        await eventually(lambda: agent.view.trust.live, "the first snapshot")
        for number in range(3):
            line.cut()
            await api.register(f"service{number}", f"10.0.0.{number + 1}")
            await agent.names_are(*(f"service{n}" for n in range(number + 1)))
            await eventually(lambda: agent.view.trust.live, "it is connected again")
        assert agent.view.snapshots == 1, "all the rest were resumed"
        assert agent.view.events == 3
        assert agent.sync.losses >= 1


async def test_the_rest_of_a_lease_is_known_without_renewal_events(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1")
    async with following(api.url) as agent:
        await agent.names_are("osint_service")
        key = next(iter(agent.view.catalog)).key
        api.replica.hub.tick()
        await eventually(lambda: agent.view.ttl_remaining_s(key) > 0, "the bound is told")
        assert agent.view.ttl_remaining_s(key) <= 60.0
        assert agent.view.heartbeat_at(key) >= agent.view.catalog.heartbeat_at(key)
        (watcher,) = api.replica.hub.watchers
        assert (watcher.kind.protocol, watcher.kind.renewals) == (PROTOCOL, False)


class LargestDraw:
    """Always the largest jitter: waits are as long as possible."""

    def random(self) -> float:
        return 1.0


async def test_a_stream_that_keeps_breaking_is_reopened_with_growing_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each stream starts well, with a snapshot, as from a registry that only then sends something invalid."""
    sent = STREAM + b"".join(snapshot([], cursor=at(1), digest="0" * 16)) + sync(at(7), digest="0" * 16)
    waits: list[float] = []

    async def pause(wait_s: float) -> None:
        waits.append(wait_s)
        await asyncio.sleep(0)

    async with odd_registry(sent) as odd, following(f"http://127.0.0.1:{odd.port}") as agent:
        monkeypatch.setattr(agent.sync, "_random", LargestDraw())
        monkeypatch.setattr(agent.sync, "_pause", pause)
        await eventually(lambda: len(waits) >= 8, "it has tried often enough")
    assert waits[:8] == sorted(waits[:8])
    assert waits[7] == WATCH_RETRY.most_s


async def test_the_next_registry_is_tried_when_the_first_does_not_answer(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1")
    async with following(f"http://127.0.0.1:{free_port()}", api.url) as agent:
        await agent.names_are("osint_service")
        assert agent.upstreams.current(Use.WATCH) == api.url


async def test_a_registry_that_stops_is_left_without_a_failure(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1")
    with capture_logs() as logs:
        async with serving(READY) as stopping, following(stopping.url, api.url) as agent:
            await eventually(lambda: agent.sync.connected_to == stopping.url, "it follows the first")
            await stopping.replica.close()
            await agent.names_are("osint_service")
            assert agent.sync.connected_to == api.url
            assert agent.sync.losses == 0
            assert not any(agent.upstreams.report().known[0].failures.values())
            assert agent.upstreams.current(Use.WRITE) == api.url, "writes go elsewhere too"
    assert "registry_stops" in [entry["event"] for entry in logs]
    assert "watch_lost" not in [entry["event"] for entry in logs]


async def test_the_only_registry_is_asked_again_after_it_said_that_it_stops(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1")
    async with line_to(api.replica.listen.port) as line, following(line.url) as agent:
        await agent.names_are("osint_service")
        (before,) = api.replica.hub.watchers
        before.close(goodbye_line(1))  # as behind a load balancer, which leads to another replica next
        await eventually(lambda: bool(api.replica.hub.watchers - {before}), "it is back")
        await eventually(lambda: agent.sync.connected_to == line.url, "it follows")
        assert (agent.sync.losses, agent.view.snapshots) == (0, 1)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
        STREAM + b"no json\n",
        STREAM + b"Content",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: yesterday\r\n\r\n",
        STREAM + sync(Cursor(), digest="")[:-9],
    ],
)
async def test_a_registry_with_invalid_answers_is_left_for_the_next(api: Api, sent: bytes) -> None:
    await api.register("osint_service", "10.0.0.1")
    async with odd_registry(sent) as odd, following(f"http://127.0.0.1:{odd.port}", api.url, silence_s=0.5) as agent:
        await agent.names_are("osint_service")
        assert odd.connections >= 1


async def test_a_corrupt_view_is_noticed_and_read_again(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1")
    async with following(api.url) as agent:
        await agent.names_are("osint_service")
        agent.view.catalog.merge([lived(instance("phantom", "10.0.0.66"))])
        api.replica.hub.tick()
        await agent.names_are("osint_service")
        assert agent.sync.resyncs == 1
        assert agent.view.trust.mismatches == 1
        await eventually(lambda: agent.view.complete, "all is well again")


async def test_a_registry_that_lost_its_records_gets_everything_again() -> None:
    where = Listen("127.0.0.1", free_port())
    settings = type(READY)(listen=where, warming_s=60.0)
    async with serving(settings) as api:
        await api.register("osint_service", "10.0.0.1")
        async with following(api.url) as agent:
            await agent.names_are("osint_service")
            assert agent.asserted == 1, "a warming registry gets it at once"
            await api.replica.close()
            async with serving(settings):
                await eventually(lambda: agent.asserted == 2, "it is told again")
                assert agent.view.catalog.names() == ["osint_service"]
                assert not agent.view.complete


async def test_a_refused_snapshot_is_logged_once() -> None:
    catalog = Catalog()
    catalog.merge([lived(instance("osint_service"))])
    known = Replaced((lived(instance("osint_service")),), at(9), catalog.digest, "ready", "start")
    warming = snapshot([], state="warming", cursor=at(1), digest="0" * 16)
    signs = sync(at(1), digest="0" * 16, state="warming") * 3
    async with odd_registry(STREAM + b"".join(warming) + signs) as odd:
        with capture_logs() as lines:
            async with following(f"http://127.0.0.1:{odd.port}") as agent:
                agent.view.apply(known)
                await eventually(lambda: agent.view.losses_prevented == 1, "the snapshot came")
                await eventually(lambda: agent.view.trust.state == "warming", "and the signs of life")
    (said,) = [line for line in lines if line["event"] == "loss_guard_holds"]
    assert said["log_level"] == "warning"
    assert "lacks 1 of 1 known services" in said["because"]
    assert agent.view.services.names() == ["osint_service"]


class Scripted:
    """A server that answers each connection with the next of these, the last one again and again."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).lower())
            writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            await writer.drain()
            if b"close" not in self.answers[0]:
                await reader.read()
        writer.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()


ASKS = b"x-watch-packing: deflate"


async def test_packed_lines_that_something_has_spoiled_are_asked_for_in_plain() -> None:
    whole = b"".join(snapshot([lived(instance("osint_service"))], cursor=at(1), digest="0" * 16))
    spoiled = STREAM + packed(whole)[:-4] + b"junk"
    registry = Scripted(spoiled, STREAM + whole)
    async with registry.running() as url, following(url) as agent:
        await agent.names_are("osint_service")
        assert [ASKS in request for request in registry.requests] == [True, False]
        agent.sync._anew = True
        assert agent.sync._takes_packed, "the next stream may be packed again"


async def test_an_agent_comes_back_no_sooner_than_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nConnection: close\r\nRetry-After: %b\r\nContent-Length: 0\r\n\r\n"
    waits: list[float] = []

    async def pause(wait_s: float) -> None:
        waits.append(wait_s)
        await asyncio.sleep(0)

    registry = Scripted(busy % b"9", busy % b"500", busy % b"soon")
    async with registry.running() as url, following(url) as agent:
        monkeypatch.setattr(agent.sync, "_random", LargestDraw())
        monkeypatch.setattr(agent.sync, "_pause", pause)
        await eventually(lambda: len(waits) >= 3, "it has tried often enough")
    assert waits[:2] == [9.0 + 1.0, MOST_RETRY_AFTER_S + 1.0]
    assert waits[2] <= WATCH_RETRY.most_s


async def test_another_registry_is_tried_before_one_that_is_busy_again(api: Api) -> None:
    await api.register("osint_service", "10.0.0.1")
    registry = Scripted(b"HTTP/1.1 503 Busy\r\nConnection: close\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n")
    async with registry.running() as url, following(url, api.url) as agent:
        await agent.names_are("osint_service")
        assert agent.sync.connected_to == api.url


async def test_lookups_of_an_old_view_shorten_the_wait_for_the_next_try() -> None:
    async with aiohttp.ClientSession() as session:
        agent = Following(session, (f"http://127.0.0.1:{free_port()}",), 1.0)
        waiting = asyncio.create_task(agent.sync._pause(3600.0))
        await asyncio.sleep(0)
        agent.sync.hurry()
        await asyncio.wait_for(waiting, 30.0)


@pytest.mark.parametrize(
    ("said", "pace_s"),
    [("0.65", 0.65), ("", LEAST_ACK_EVERY_S), ("soon", LEAST_ACK_EVERY_S), ("3600", MOST_ACK_EVERY_S)],
)
async def test_the_registry_says_how_seldom_drains_are_acknowledged(said: str, pace_s: float) -> None:
    async with aiohttp.ClientSession() as session:
        sync = Following(session, ("http://127.0.0.1:1",), 1.0).sync
        assert sync._acknowledger("http://127.0.0.1:1", {ACK_EVERY_HEADER: said} if said else {})._pace_s == pace_s
