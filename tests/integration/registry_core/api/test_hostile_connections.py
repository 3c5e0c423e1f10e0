"""Clients that hold connections to a replica: the others are served all the same."""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec
import pytest

from registry_core.api.connections import ConnectionLimits
from registry_core.domain.connection_slots import Closing
from registry_core.replica_settings import ReplicaSettings
from registry_core.settings import Listen
from tests.attackers import attacking, exchange, is_served
from tests.integration.agents import becomes
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually

SLOTS = 200
FEW = ConnectionLimits(connections=SLOTS)
CLOSE = b"Host: x\r\nConnection: close\r\n\r\n"
HALF_A_BODY = b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
WITH_SECRET = ReplicaSettings(listen=Listen("127.0.0.1", 0), warming_s=0.0, secrets=("s3cret-of-the-fleet",))
SHAPE = {"error", "field", "message", "provided", "example"}


async def test_one_process_that_idles_on_every_slot_locks_nobody_out() -> None:
    async with serving(connection_limits=FEW) as api, attacking(api.replica.listen.port) as attacker:
        await attacker.ask(SLOTS, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        served = [await is_served(api.replica.listen.port, "/live") for _ in range(100)]
        assert served.count(False) == 0
        text = (await api.call("GET", "/metrics")).body.decode()
        assert 'registry_connections_closed_total{reason="idle"} ' in text


async def test_a_watch_stays_while_an_attacker_takes_and_idles_on_every_slot() -> None:
    async with (
        serving(connection_limits=FEW) as api,
        attacking(api.replica.listen.port) as attacker,
        api.session.get(api.url + "/watch") as watch,
    ):
        assert await watch.content.readline()
        await attacker.ask(2 * SLOTS, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        await api.register()
        async with asyncio.timeout(10):
            while b"ip_intel" not in await watch.content.readline():
                pass


async def test_bodies_that_never_end_on_every_slot_lock_nobody_out() -> None:
    """They are in flight, not idle; but one owner holds them all."""
    async with serving(connection_limits=FEW) as api, attacking(api.replica.listen.port) as attacker:
        await attacker.connect(SLOTS, HALF_A_BODY)
        await becomes(lambda: is_served(api.replica.listen.port, "/live"), wanted=True)
        served = [await is_served(api.replica.listen.port, "/live") for _ in range(50)]
        assert served.count(False) == 0
        assert api.replica._connections.closed[Closing.BUSY]


async def test_answers_that_nobody_reads_on_every_slot_lock_nobody_out() -> None:
    async with serving(connection_limits=FEW) as api, attacking(api.replica.listen.port) as attacker:
        await attacker.connect(SLOTS, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 60)
        served = [await is_served(api.replica.listen.port, "/live") for _ in range(50)]
        assert served.count(False) == 0


@pytest.mark.parametrize(
    ("request_", "status", "field"),
    [
        (b"no http at all\r\n\r\n", 400, "request"),
        (b"BREW /services HTTP/1.1\r\n" + CLOSE, 400, "request"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + CLOSE, 414, "path"),
        (b"GET /services HTTP/1.1\r\n" + b"X: x\r\n" * 200 + CLOSE, 431, "header"),
        (b"GET /services HTTP/1.1\r\n" + (b"X: " + b"x" * 8000 + b"\r\n") * 5, 431, "header"),
        (b"PUT /status/a/b HTTP/1.1\r\nExpect: a miracle\r\nContent-Length: 5\r\n" + CLOSE, 417, "Expect"),
    ],
)
async def test_what_is_refused_below_the_handlers_has_the_one_shape(request_: bytes, status: int, field: str) -> None:
    async with serving() as api:
        head, _, body = (await exchange(api.replica.listen.port, request_)).partition(b"\r\n\r\n")
    assert int(head.split(b" ")[1]) == status
    assert b"application/json" in head
    problem = msgspec.json.decode(body)
    assert (problem["field"], set(problem)) == (field, SHAPE)


async def test_an_encoded_slash_is_a_part_of_a_name_and_no_separator() -> None:
    async with serving() as api:
        for target in (b"/services%2Fip_intel", b"/%2Fservices", b"//services", b"/live/../services"):
            answer = await exchange(api.replica.listen.port, b"GET %b HTTP/1.1\r\n" % target + CLOSE)
            assert answer.startswith(b"HTTP/1.1 404 ")
        answer = await exchange(api.replica.listen.port, b"GET /services/a%2Fb HTTP/1.1\r\n" + CLOSE)
        assert answer.startswith(b"HTTP/1.1 400 ")


def register(secret: str, body: bytes) -> bytes:
    return (
        b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        b"X-Registry-Token: %b\r\nContent-Length: %d\r\n\r\n" % (secret.encode(), len(body))
    )


BODY = b'{"service_name":"ip_intel","host":"10.0.0.7","port":8034}'


async def test_no_body_is_asked_for_before_the_credentials_were_judged() -> None:
    async with serving(WITH_SECRET) as api:
        answer = await exchange(api.replica.listen.port, register("a guess", BODY))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower(), "its body may come, or not"


async def test_a_body_is_asked_for_once_it_will_be_read() -> None:
    async with serving(WITH_SECRET) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.replica.listen.port)
        writer.write(register("s3cret-of-the-fleet", BODY))
        async with asyncio.timeout(10):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(BODY)
            assert (await reader.readline()).startswith(b"HTTP/1.1 201 ")
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_expects_to_be_asked_registers(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    async with api.session.post(api.url + "/register", data=BODY, headers=headers, expect100=True) as response:
        assert response.status == 201


async def test_clients_that_come_and_go_leave_nothing_behind() -> None:
    async with serving(READY, connection_limits=FEW) as api:
        for _ in range(5):
            async with attacking(api.replica.listen.port) as attacker:
                await attacker.connect(100, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: len(api.replica._connections.open) <= 1, "all are gone")
        slots = api.replica._connections.slots
        assert len(slots) == len(api.replica._connections.open)
        async with aiohttp.ClientSession() as session, session.get(api.url + "/live") as response:
            assert response.status == 200
