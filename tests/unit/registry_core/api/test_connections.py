"""The limits on connections, on real sockets, around aiohttp's low-level server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web

from registry_core import loopback_survey
from registry_core.api import connections as module
from registry_core.api.connections import ConnectionLimits, Connections, wait_to_be_accepted
from registry_core.api.http_connection import AtOnce, HttpConnection, serving
from registry_core.api.ready_heads import NO_ANSWER, ReadyAnswer
from registry_core.api.request_head import RequestHead
from registry_core.domain.connection_slots import Closing
from tests.attackers import GET, attacking, exchange, is_served
from tests.programs import eventually

LOGGER = logging.getLogger("test")
FLOOD = b"x" * 32 * 1024 * 1024


class Served:
    """A server on a loopback port that answers `/flood` with more than anyone reads, and `/held` when it is let go."""

    def __init__(self, limits: ConnectionLimits, proxies: frozenset[str]) -> None:
        self.connections = Connections(limits, is_shared=proxies.__contains__)
        self.held = asyncio.Event()
        self.asked: list[str] = []
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/held":
            await self.held.wait()
        if request.path == "/broken":
            raise ValueError(request.path)
        return web.Response(body=FLOOD if request.path == "/flood" else b"hello")

    @property
    def open(self) -> int:
        return len(self.connections.open)


@contextlib.asynccontextmanager
async def listening(limits: ConnectionLimits, proxies: frozenset[str] = frozenset()) -> AsyncIterator[Served]:
    served = Served(limits, proxies)
    server = web.Server(served.answer)
    protocols = serving(served.connections, server, LOGGER)
    listener = await asyncio.get_running_loop().create_server(protocols, "127.0.0.1", 0)
    served.port = listener.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        listener.close()
        served.held.set()
        await server.shutdown(1)
        await served.connections.end()
        await eventually(lambda: not served.open, "all connections have ended")


async def test_a_connection_with_a_request_is_served_and_forgotten_when_it_ends() -> None:
    async with listening(ConnectionLimits()) as served:
        async with attacking(served.port) as client:
            await client.ask(1)
            assert served.open == 1
        await eventually(lambda: served.open == 0, "its end is seen")
        assert not served.connections.closed


async def test_a_reader_that_does_not_take_the_rest_is_cut_off_at_the_end() -> None:
    async with listening(ConnectionLimits()) as served, attacking(served.port) as client:
        await client.connect(1, GET.replace(b"/services", b"/flood"))
        await eventually(lambda: served.asked == ["/flood"], "it is answered")
        (transport,) = served.connections.open.values()
        await eventually(lambda: transport.get_write_buffer_size() > 0, "it does not read")
        transport.close()
        await served.connections.end()
        assert not served.open


async def test_a_connection_without_a_request_is_closed() -> None:
    async with listening(ConnectionLimits(header_s=0.05)) as served, attacking(served.port) as client:
        await client.connect(1)
        await client.connect(1, b"GET / HT")
        await eventually(lambda: served.connections.closed == {Closing.HEADER: 2}, "both are closed")
        await eventually(lambda: served.open == 0, "and forgotten")


async def test_bytes_now_and_then_do_not_extend_the_time_for_a_header() -> None:
    async with listening(ConnectionLimits(header_s=0.3)) as served, attacking(served.port) as client:
        await client.connect(1, b"GET / HTTP/1.1\r\nX: ")
        async with asyncio.timeout(10):
            while not served.connections.closed:
                with contextlib.suppress(ConnectionError):
                    client.sockets[0].send(b"x")
                await asyncio.sleep(0.01)
        assert served.connections.closed == {Closing.HEADER: 1}


async def test_with_every_slot_in_use_by_modest_owners_a_newcomer_is_closed_at_once() -> None:
    async with listening(ConnectionLimits(connections=1)) as served, attacking(served.port) as client:
        await client.connect(1, GET.replace(b"/services", b"/held"))
        await eventually(lambda: served.asked == ["/held"], "it is in flight")
        assert not await is_served(served.port)
        assert (served.open, served.connections.closed) == (1, {Closing.FULL: 1})
        served.held.set()
        answer = await asyncio.get_running_loop().sock_recv(client.sockets[0], 1000)
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_the_longest_idle_one_makes_room() -> None:
    async with listening(ConnectionLimits(connections=3)) as served, attacking(served.port) as client:
        await client.ask(3)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client.sockets[0], GET)
        assert await loop.sock_recv(client.sockets[0], 1000)
        await client.ask(1)
        assert [await _closed(each) for each in client.sockets] == [False, True, False, False]
        assert (served.open, served.connections.closed) == (3, {Closing.IDLE: 1})


async def _closed(client: socket.socket) -> bool:
    await asyncio.sleep(0.01)
    try:
        return client.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def test_a_client_that_does_not_read_its_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel's own timer would do the same on Linux; this tests ours.
    monkeypatch.setattr(module, "_drop_dead_peer", lambda *_: None)
    async with listening(ConnectionLimits(unread_s=0.1)) as served, attacking(served.port) as client:
        await client.connect(1, b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: served.connections.closed == {Closing.UNREAD: 1}, "the connection is gone")


async def test_a_slow_reader_is_not_disconnected() -> None:
    async with listening(ConnectionLimits(unread_s=60)) as served:
        answering = asyncio.ensure_future(exchange(served.port, b"GET /flood HTTP/1.0\r\nHost: x\r\n\r\n"))
        await eventually(lambda: len(served.connections._unread) == 1, "the buffer is full")
        assert len(await answering) > len(FLOOD)
        assert (len(served.connections._unread), served.connections.closed) == (0, {})


async def test_who_does_not_read_makes_room_before_anyone_whose_request_is_in_flight() -> None:
    async with listening(ConnectionLimits(connections=2)) as served, attacking(served.port) as client:
        await client.connect(1, GET.replace(b"/services", b"/held"))
        await eventually(lambda: served.asked == ["/held"], "it is in flight")
        await client.connect(1, GET.replace(b"/services", b"/flood"))
        await eventually(lambda: len(served.connections._unread) == 1, "the buffer is full")
        assert await is_served(served.port)
        assert served.connections.closed == {Closing.IDLE: 1}
        assert not await _closed(client.sockets[0])


async def test_a_header_that_does_not_end_is_refused_and_what_follows_is_not_kept() -> None:
    async with listening(ConnectionLimits(linger_s=0.2)) as served, attacking(served.port) as client:
        await client.connect(1, b"GET / HTTP/1.1\r\n" + (b"A: " + b"x" * 5000 + b"\r\n") * 8)
        loop = asyncio.get_running_loop()
        answer = await loop.sock_recv(client.sockets[0], 1000)
        assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])["error"] == "HeaderTooLarge"
        (connection,) = served.connections.open
        held = connection._unfinished
        await loop.sock_sendall(client.sockets[0], b"B: y\r\n" * 1000)
        await eventually(lambda: served.open == 0, "it is closed")
        assert connection._unfinished == held
        assert served.connections.closed == {Closing.TOO_LARGE: 1}


async def test_a_header_behind_a_request_in_flight_is_bounded_too() -> None:
    async with listening(ConnectionLimits()) as served, attacking(served.port) as client:
        await client.connect(1, GET.replace(b"/services", b"/held"))
        await eventually(lambda: served.asked == ["/held"], "it is in flight")
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(client.sockets[0], b"GET / HTTP/1.1\r\n" + (b"A: " + b"x" * 5000 + b"\r\n") * 50)
        await eventually(lambda: served.open == 0, "it is closed")
        assert served.connections.closed == {Closing.TOO_LARGE: 1}


async def test_a_large_body_is_no_header() -> None:
    async with listening(ConnectionLimits()) as served:
        head = b"POST /held HTTP/1.0\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        answering = asyncio.ensure_future(exchange(served.port, head + b"x" * 100_000))
        await eventually(lambda: served.asked == ["/held"], "it is in flight")
        served.held.set()
        assert (await answering).endswith(b"hello")
        assert not served.connections.closed


async def test_who_sends_many_requests_at_once_makes_room_between_two_of_them() -> None:
    async with listening(ConnectionLimits(connections=8)) as served, attacking(served.port) as client:
        await client.connect(8, GET * 32 * 20)
        assert await is_served(served.port)
        assert served.connections.closed == {Closing.IDLE: 1}


async def test_who_sends_many_requests_at_once_is_not_read_from_while_they_wait() -> None:
    async with listening(ConnectionLimits()) as served, attacking(served.port) as client:
        await client.connect(1, GET.replace(b"/services", b"/held"))
        await eventually(lambda: served.asked == ["/held"], "it is in flight")
        (connection,) = served.connections.open
        transport = connection.transport
        assert transport is not None
        assert transport.is_reading()
        await asyncio.get_running_loop().sock_sendall(client.sockets[0], GET * 3)
        await eventually(lambda: len(connection._messages) == 3, "they have come")
        assert not transport.is_reading()
        served.held.set()
        await eventually(lambda: len(served.asked) == 4 and transport.is_reading(), "all are answered")


async def test_an_error_of_ours_is_answered_in_the_one_shape() -> None:
    async with listening(ConnectionLimits()) as served:
        head, _, body = (await exchange(served.port, GET.replace(b"/services", b"/broken"))).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert msgspec.json.decode(body)["error"] == "InternalError"


async def test_loopback_connections_are_told_apart_by_process_while_there_is_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The neighbour has been idle for longest; the attacker's go all the same, once it is known whose they are."""
    asked: list[int] = []
    ports: dict[str, set[int]] = {"pid 1": set(), "pid 66": set()}

    def peers(port: int) -> dict[int, str]:
        asked.append(port)
        return {peer: owner for owner, theirs in ports.items() for peer in theirs}

    monkeypatch.setattr(loopback_survey, "loopback_peers", peers)
    limits = ConnectionLimits(connections=16)
    async with listening(limits) as served, attacking(served.port) as neighbour, attacking(served.port) as attacker:
        await neighbour.ask(2)
        await attacker.ask(14)
        ports["pid 1"] = {each.getsockname()[1] for each in neighbour.sockets}
        ports["pid 66"] = {each.getsockname()[1] for each in attacker.sockets}
        slots = served.connections.slots
        await attacker.ask(1)  # takes the place of the neighbour's first: nobody knows yet
        await eventually(lambda: slots.held_by("pid 66") == 14, "it is known")
        assert (slots.held_by("pid 1"), slots.held_by("loopback")) == (1, 1)
        await attacker.ask(10)
        assert slots.held_by("pid 1") == 1
        assert asked == [served.port], "it is not asked for each newcomer"


async def test_where_nobody_can_tell_whose_connections_they_are_they_are_one_owners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_proc(_port: int) -> dict[int, str]:
        raise OSError("no /proc")

    monkeypatch.setattr(loopback_survey, "loopback_peers", no_proc)
    async with listening(ConnectionLimits(connections=2)) as served, attacking(served.port) as client:
        await client.ask(3)
        job = served.connections._survey._threads
        await eventually(lambda: job._places.acquire(blocking=False), "the thread has ended")
        served.connections._survey._surveyed_at = None
        await client.ask(1)  # while no thread is free
        job._places.release()
        assert served.open == 2


async def test_a_connection_of_a_shared_address_is_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback_survey, "loopback_peers", lambda _port: pytest.fail("not for a proxy on this machine"))
    limits = ConnectionLimits(connections=2)
    async with listening(limits, frozenset({"127.0.0.1"})) as served, attacking(served.port) as client:
        await client.ask(3)
        assert served.open == 2


async def test_the_task_of_a_connection_that_lingers_over_a_body_is_ended() -> None:
    async with listening(ConnectionLimits(linger_s=30)) as served:
        async with attacking(served.port) as client:
            await client.ask(1, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        await eventually(lambda: served.open == 0, "the client has left")
    assert not served.connections._leftover


async def test_a_connection_waits_until_the_loop_has_accepted_it() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    assert not wait_to_be_accepted(server)
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(server.sockets[0].getsockname())
        assert wait_to_be_accepted(server), "no turn of the loop has come since"
        await eventually(lambda: not wait_to_be_accepted(server), "it is accepted")
    server.close()
    await server.wait_closed()
    assert not wait_to_be_accepted(server)
    assert not wait_to_be_accepted(None)


async def test_after_many_connections_their_memory_is_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(module, "MANY", 10)
    monkeypatch.setattr(module, "_CALM_S", 0.01)
    monkeypatch.setattr(module, "give_back", lambda: given.append(1))
    async with listening(ConnectionLimits()) as served:
        for _ in range(2):
            async with attacking(served.port) as client:
                await client.ask(20)
            await eventually(lambda: not served.open, "all have gone")
            await eventually(lambda: bool(given), "it is given back")
            assert given.pop() == 1
            assert not given
        async with attacking(served.port) as client:
            await client.ask(5)
        await eventually(lambda: not served.open, "all have gone")
        assert served.connections._peak == 5


def test_a_connection_of_ours_is_one_of_aiohttps() -> None:
    """What is used of it that aiohttp does not document."""
    used = {"_messages", "_task_handler", "_request_in_progress", "_max_msg_queue_size", "_msg_queue_resume_size"}
    assert used <= set(web.RequestHandler.__slots__)
    assert issubclass(HttpConnection, web.RequestHandler)


async def test_an_answer_at_once_overtakes_no_request_before_it() -> None:
    """Not even in the turns of the loop in which aiohttp's task takes a request, or has just answered it."""
    connections, held = Connections(ConnectionLimits()), asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/held":
            await held.wait()
        return web.Response(body=request.path.encode())

    def answer(head: RequestHead) -> ReadyAnswer:
        return (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nat once",) if head.raw_path == "/ready" else NO_ANSWER

    def get(path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    protocols = serving(connections, web.Server(handle), LOGGER, AtOnce(answer))
    listener = await asyncio.get_running_loop().create_server(protocols, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.sockets[0].getsockname()[1])
    try:

        async def bodies(count: int) -> list[bytes]:
            found = []
            for _ in range(count):
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                found.append(await reader.readexactly(size))
            return found

        writer.write(get("/ready"))
        assert await bodies(1) == [b"at once"], "the first one of a connection"
        (connection,) = connections.open
        # As if they arrived in one turn of the loop, and in the next ones.
        for turns in range(4):
            connection.data_received(get("/held"))
            for _ in range(turns):
                await asyncio.sleep(0)
            connection.data_received(get("/ready"))
            held.set()
            first, second = await bodies(2)
            assert first == b"/held", turns
            assert second in (b"/ready", b"at once")
            held.clear()
        writer.write(get("/other"))
        assert await bodies(1) == [b"/other"]
        connection.data_received(get("/ready"))
        assert await bodies(1) == [b"at once"]
    finally:
        writer.close()
        listener.close()
        await connections.end()
