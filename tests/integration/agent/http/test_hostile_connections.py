"""Clients that hold connections to the agent's port: the others are served all the same."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from agent import healthy, sidecar
from tests.attackers import GET, attacking, exchange, is_served
from tests.integration.agents import QUICK, AgentUnderTest, becomes, standing
from tests.programs import eventually

NOBODY = "http://127.0.0.1:1"
SLOTS = 1000
CLOSE = b"Host: x\r\nConnection: close\r\n\r\n"


# An agent that may open fewer has fewer slots; it is tested with those that it has by default.
pytestmark = pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 3 * SLOTS,
    reason="ATTACKS ON 1,000 CONNECTIONS ARE NOT SHOWN: too few files may be open here (ulimit -n 4096)",
)


@pytest_asyncio.fixture
async def agent() -> AsyncIterator[AgentUnderTest]:
    async with standing(NOBODY, settings=QUICK) as running:
        yield running


async def test_one_process_that_idles_on_every_slot_locks_nobody_out(agent: AgentUnderTest) -> None:
    port = agent.sidecar.http_listen.port
    async with attacking(port) as attacker:
        await attacker.ask(SLOTS, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await asyncio.to_thread(healthy.is_well, f"127.0.0.1:{port}", "/live"), "the container's HEALTHCHECK"
        served = [await is_served(port, "/live") for _ in range(100)]
        assert served.count(False) == 0
        assert await attacker.ended() <= 102, "no more than were needed"


async def test_half_sent_headers_on_every_slot_lock_nobody_out(agent: AgentUnderTest) -> None:
    port = agent.sidecar.http_listen.port
    async with attacking(port) as attacker:
        await attacker.connect(SLOTS, b"GET /live HTTP/1.1\r\nHost: ")
        served = [await is_served(port, "/live") for _ in range(50)]
        assert served.count(False) == 0


async def test_neighbours_that_keep_their_connections_are_not_the_ones_to_go(agent: AgentUnderTest) -> None:
    """They ask now and then; the attacker's have been idle for longer."""
    port = agent.sidecar.http_listen.port
    async with attacking(port) as neighbour, attacking(port) as attacker:
        await attacker.ask(SLOTS - 20, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        await neighbour.ask(20, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        await attacker.ask(200, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await neighbour.ended(), await attacker.ended()) == (0, 200)


async def test_evictions_are_counted_by_reason(agent: AgentUnderTest) -> None:
    port = agent.sidecar.http_listen.port
    async with attacking(port) as attacker:
        await attacker.ask(SLOTS, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        text = (await agent.get("/metrics")).body.decode()
    assert 'agent_http_connections_closed_total{reason="idle"} 1.0' in text
    assert "agent_http_connections 1000.0" in text


@pytest.mark.parametrize(
    ("request_", "status", "field"),
    [
        (b"no http at all\r\n\r\n", 400, "request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request"),
        (b"BREW /services HTTP/1.1\r\n" + CLOSE, 400, "request"),
        (b"GET /services HTTP/1.1\r\nbad header\r\n" + CLOSE, 400, "request"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + CLOSE, 414, "path"),
        (b"GET /services HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n" + CLOSE, 431, "header"),
        (b"GET /services HTTP/1.1\r\n" + b"X: x\r\n" * 200 + CLOSE, 431, "header"),
        (b"GET /services HTTP/1.1\r\n" + (b"X: " + b"x" * 8000 + b"\r\n") * 5, 431, "header"),
    ],
)
async def test_what_is_refused_below_the_handlers_has_the_one_shape(
    agent: AgentUnderTest, request_: bytes, status: int, field: str
) -> None:
    head, _, body = (await exchange(agent.sidecar.http_listen.port, request_)).partition(b"\r\n\r\n")
    assert int(head.split(b" ")[1]) == status
    assert b"application/json" in head
    problem = msgspec.json.decode(body)
    assert (problem["field"], set(problem)) == (field, {"error", "field", "message", "provided", "example"})


async def test_an_encoded_slash_is_a_part_of_a_name_and_no_separator(agent: AgentUnderTest) -> None:
    port = agent.sidecar.http_listen.port
    for target in (b"/services%2Fosint", b"/%2Fservices", b"/drain%2f"):
        assert b" 404 " in (await exchange(port, b"GET %b HTTP/1.1\r\n" % target + CLOSE)).split(b"\r\n")[0]
    for target in (b"/services/a%2Fb", b"/resolve/a%2fb"):
        assert b" 400 " in (await exchange(port, b"GET %b HTTP/1.1\r\n" % target + CLOSE)).split(b"\r\n")[0]


async def test_no_body_is_asked_for_that_is_refused_anyway(agent: AgentUnderTest) -> None:
    answer = await exchange(
        agent.sidecar.http_listen.port,
        b"PUT /check/nobody HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n",
    )
    assert b"100 Continue" not in answer
    assert b"connection: close" in answer.lower()


async def test_a_slow_header_ends_at_its_deadline_also_on_a_connection_that_was_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sidecar, "HTTP_LIMITS", msgspec.structs.replace(sidecar.HTTP_LIMITS, header_s=0.3))
    async with standing(NOBODY, settings=QUICK) as agent, attacking(agent.sidecar.http_listen.port) as attacker:
        await attacker.ask(5, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        loop = asyncio.get_running_loop()
        for each in attacker.sockets:
            await loop.sock_sendall(each, b"GET /live HT")
        await becomes(attacker.ended, 5)
        assert agent.sidecar._connections.closed == {"header": 5}


async def test_a_client_that_closes_its_half_is_gone(agent: AgentUnderTest) -> None:
    connections = agent.sidecar._connections
    async with attacking(agent.sidecar.http_listen.port) as attacker:
        await attacker.ask(200, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        for each in attacker.sockets:
            each.shutdown(1)
        await eventually(lambda: not connections.open, "all are closed")


async def test_a_pipelined_flood_is_read_only_as_fast_as_it_is_answered(agent: AgentUnderTest) -> None:
    """32 requests of a connection wait at most; the rest stays in the sender's and the kernel's buffers."""
    port = agent.sidecar.http_listen.port
    async with attacking(port) as attacker:
        flood = asyncio.gather(*(attacker.connect(1, GET * 200_000) for _ in range(20)))
        try:
            served = [await is_served(port, "/live") for _ in range(50)]
            assert served.count(False) == 0
            assert max(len(each._messages) for each in agent.sidecar._connections.open) <= 64
        finally:
            flood.cancel()
            await asyncio.gather(flood, return_exceptions=True)
