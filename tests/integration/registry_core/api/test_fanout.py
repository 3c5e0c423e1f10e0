"""One change to many watchers at real sockets: shared writes while readers keep up, their own pace when they do not."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from registry_core.api.fanout import Audience
from registry_core.api.watcher import Watcher
from tests.certificates import Authority
from tests.integration.replicas import Api, serving
from tests.integration.tls import tls_files
from tests.programs import NO_INSTANCE_LIMITS, VERTICE, accepts, eventually, free_port, running, wait_until
from tests.samples import claim

WATCH = b"GET /watch HTTP/1.1\r\nHost: registry\r\nX-Watch-Protocol: 2\r\n\r\n"
METADATA = {"filler": "x" * 3000}
_CURSOR = re.compile(rb'"cursor":"0\.([^.]+)\.(\d+)"')
_REVISION = re.compile(rb'"position":"0\.[^.]+\.(\d+)"')


class RawWatch:
    """A watch as bytes. It reads only when told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.got = b""
        self._reader = reader
        self.writer = writer

    async def until(self, marker: bytes) -> None:
        """Read until `marker` has come."""
        async with asyncio.timeout(20):
            while marker not in self.got:
                data = await self._reader.read(65536)
                assert data, "the stream ended"
                self.got += data

    @property
    def revisions(self) -> list[int]:
        """The revisions of the changes that were read."""
        return [int(each) for each in _REVISION.findall(self.got)]


@contextlib.asynccontextmanager
async def raw_watch(
    port: int, request: bytes = WATCH, *, tls: ssl.SSLContext | None = None, receives: int = 0
) -> AsyncIterator[RawWatch]:
    """Have a reader that has read its opening; its system holds `receives` octets for it, if set."""
    small = socket.socket()
    if receives:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", port))
    name = "127.0.0.1" if tls is not None else None
    reader, writer = await asyncio.open_connection(sock=small, limit=4096, ssl=tls, server_hostname=name)
    try:
        writer.write(request)
        watch = RawWatch(reader, writer)
        await watch.until(b'"sync"')
        yield watch
    finally:
        writer.transport.abort()


def port_of(api: Api) -> int:
    return api.replica.listen.port


def audience_of(api: Api) -> Audience:
    (audience,) = api.replica.hub.fanout
    return audience


async def all_direct(api: Api, count: int) -> None:
    await eventually(lambda: len(audience_of(api).direct) == count, "rounds write to all")


async def test_a_change_reaches_readers_that_keep_up_without_their_tasks(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_watch(port_of(api)) as first, raw_watch(port_of(api)) as second:
        await all_direct(api, 2)

        def take(_: Watcher) -> bytes:
            raise AssertionError("a task was woken")

        monkeypatch.setattr(Watcher, "take", take)
        for port in range(8001, 8021):
            await api.register(port=port)
        for watch in (first, second):
            await watch.until(b'"port":8020')
            assert watch.revisions == list(range(1, 21))
        audience = audience_of(api)
        assert audience.feed.start == audience.feed.end
        octets = api.replica.hub.counts.octets
        assert octets > len(first.got), "what rounds write is counted"
        monkeypatch.undo()


async def test_changes_at_once_share_a_write(api: Api) -> None:
    async with raw_watch(port_of(api)) as watch:
        await all_direct(api, 1)
        before = len(re.findall(rb"\r\n[0-9a-f]+\r\n", watch.got))
        for port in range(8001, 8051):
            await api.replica.store.register(claim(port=port))
        await watch.until(b'"port":8050')
        assert watch.revisions == list(range(1, 51))
        assert len(re.findall(rb"\r\n[0-9a-f]+\r\n", watch.got)) - before < 5


async def test_a_slow_reader_goes_at_its_own_pace_and_loses_nothing(api: Api) -> None:
    async with raw_watch(port_of(api)) as quick, raw_watch(port_of(api), receives=4096) as slow:
        await all_direct(api, 2)
        audience, count = audience_of(api), 0
        while not audience.own:
            count += 1
            assert count < 3000, "the slow reader still has room"
            await api.register(port=8001 + count % 50, metadata={"bulk": "x" * 7000, "count": count})
            await quick.until(b'"count":%d}' % count)
        await api.register(port=8001, metadata={"count": count + 1})
        await quick.until(b'"count":%d}' % (count + 1))
        assert (len(audience.own), len(audience.direct)) == (1, 1)
        assert audience.feed.start < audience.feed.end, "kept for the slow one"
        await slow.until(b'"count":%d}' % (count + 1))
        assert slow.revisions == quick.revisions == list(range(1, count + 2))
        await all_direct(api, 2)
        await api.register(port=8002, metadata={"count": count + 2})
        for watch in (quick, slow):
            await watch.until(b'"count":%d}' % (count + 2))
        assert audience.feed.start == audience.feed.end


async def test_a_reader_of_http_1_0_gets_lines_without_chunks(api: Api) -> None:
    async with (
        raw_watch(port_of(api), WATCH.replace(b"HTTP/1.1", b"HTTP/1.0")) as watch,
        raw_watch(port_of(api)) as chunked,
    ):
        await all_direct(api, 2)
        await api.register()
        for each in (watch, chunked):
            await each.until(b'"change"')
            assert each.revisions == [1]
        assert [line[:1] for line in watch.got.partition(b"\r\n\r\n")[2].splitlines()] == [b"{"] * 3


async def test_readers_over_tls_are_written_to_as_well(tmp_path: Path) -> None:
    files = tls_files(tmp_path, Authority(tmp_path / "fleet"))
    async with (
        serving(files.settings(), tls=files.trusting()) as api,
        raw_watch(port_of(api), tls=files.trusting()) as first,
        raw_watch(port_of(api), tls=files.trusting()) as second,
    ):
        await all_direct(api, 2)
        for port in range(8001, 8011):
            await api.register(port=port)
        for watch in (first, second):
            await watch.until(b'"port":8010')
            assert watch.revisions == list(range(1, 11))
        assert len(audience_of(api).direct) == 2


async def test_a_reader_that_has_gone_is_left_out_and_the_others_get_theirs(api: Api) -> None:
    async with raw_watch(port_of(api)) as stays:
        async with raw_watch(port_of(api)):
            await all_direct(api, 2)
        await api.register()
        await stays.until(b'"change"')
        await all_direct(api, 1)
        await eventually(lambda: len(api.replica.hub) == 1, "the watcher is gone")


async def test_no_reader_of_a_running_registry_loses_a_change(tmp_path: Path) -> None:
    """With the event loop that programs run on, and readers that come, rest and go meanwhile."""
    changes, port = 300, free_port()
    env = {"REGISTRY_WARMING": "0", "REGISTRY_LIMIT_REGISTER": "off", **NO_INSTANCE_LIMITS}
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], tmp_path / "log", env):
        await asyncio.to_thread(wait_until, lambda: accepts(port), "the registry listens")
        async with contextlib.AsyncExitStack() as stack, aiohttp.ClientSession() as session:
            watches = [await stack.enter_async_context(raw_watch(port, receives=4096)) for _ in range(20)]

            async def change(number: int) -> None:
                body = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8000 + number, "metadata": METADATA}
                async with session.post(f"http://127.0.0.1:{port}/register", json=body) as answer:
                    assert answer.status == 201

            for number in range(0, changes, 10):
                await asyncio.gather(*map(change, range(number, number + 10)))
                watches.append(await stack.enter_async_context(raw_watch(port)))
                watches.pop(5).writer.transport.abort()
            for watch in watches:
                epoch, seen = _CURSOR.findall(watch.got)[0]  # of its opening
                if int(seen) < changes:
                    await watch.until(b'"position":"0.%b.%d"' % (epoch, changes))
                assert watch.revisions == list(range(int(seen) + 1, changes + 1))
            assert len(watches[0].revisions) == changes
