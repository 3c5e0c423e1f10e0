"""Clients beyond loopback, by this machine's own network address, and how dig handles the limit."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dns.udp import ExchangeMaker
from tests.integration.dns_servers import EXCHANGE_NAMES, EXCHANGES, Running, address_in_the_network, both
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, responder

NAME = f"ip-intel.{ZONE}"
LIMIT = 5


@pytest_asyncio.fixture(params=EXCHANGES, ids=EXCHANGE_NAMES)
async def remote(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """A server that is queried from beyond loopback. Its clock stands still, so that the limit lasts."""
    host = address_in_the_network()
    view = StandingView([instance(host="10.0.0.1")])
    server = responder(view, clock=FakeClock(), allow_networks=("127.0.0.0/8", f"{host}/32"), rate_limit=LIMIT)
    udp, tcp = await both(server, host, request.param)
    yield Running(view, server, udp, tcp, host)
    await udp.close()
    await tcp.close()


async def use_up(running: Running) -> None:
    """Use up all unlimited answers."""
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect((running.host, running.port))
        for _ in range(LIMIT):
            await loop.sock_sendall(asker, question(NAME))
            async with asyncio.timeout(10):
                assert data(parsed(await loop.sock_recv(asker, 4096))) == ["10.0.0.1"]
    assert running.server.limited == 0


@pytest.mark.parametrize("program", ["dig", "kdig"])
async def test_a_real_client_over_the_limit_is_answered_over_tcp(remote: Running, program: str) -> None:
    await use_up(remote)
    out = await remote.dig("+noedns", NAME, program=program)
    assert "10.0.0.1" in out
    assert "(TCP)" in out
    assert remote.server.limited == 1


async def test_dig_shows_a_cookie_and_is_answered_at_once(remote: Running) -> None:
    await use_up(remote)
    out = await remote.dig("+cookie", "+tries=1", NAME)
    assert "BADCOOKIE, retrying" in out
    assert "10.0.0.1" in out
    assert "(good)" in out
    assert "(UDP)" in out
    assert remote.server.limited == 1


async def test_a_forged_sender_causes_almost_no_traffic_to_its_victim(remote: Running) -> None:
    await use_up(remote)
    out = await remote.dig("+noedns", "+ignore", "+tries=1", NAME)
    assert " tc" in out
    assert "ANSWER: 0" in out
    assert f"rcvd: {len(question(NAME))}\n" in out, "no more than was sent"


@pytest.mark.parametrize("exchange", EXCHANGES, ids=EXCHANGE_NAMES)
async def test_a_client_outside_the_named_networks_is_refused(exchange: ExchangeMaker) -> None:
    host = address_in_the_network()
    server = responder(StandingView([instance(host="10.0.0.1")]))
    udp, tcp = await both(server, host, exchange)
    running = Running(StandingView(), server, udp, tcp, host)
    for transport in ("+notcp", "+tcp"):
        out = await running.dig(transport, NAME)
        assert "status: REFUSED" in out
        assert "EDE: 18 (Prohibited)" in out
        assert "10.0.0.1" not in out
    await udp.close()
    await tcp.close()
