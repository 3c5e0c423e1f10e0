"""A server on every address has one port in both families, a given or a chosen one."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
import uvloop

from registry_core.domain.host_port import ANY_IPV6
from registry_core.errors import CannotListen
from registry_core.listener import ACCEPTS_PER_TURN, listening
from registry_core.resolution import can_be_bound
from registry_core.settings import Listen, listen
from tests.programs import free_port

LOOPBACK = ("127.0.0.1", "::1") if can_be_bound("::1") else ("127.0.0.1",)


@pytest.mark.parametrize("text", [":{port}", "[::]:{port}"])
@pytest.mark.parametrize("chosen_by_the_system", [True, False])
async def test_every_address_is_one_of_ipv4_and_of_ipv6(text: str, *, chosen_by_the_system: bool) -> None:
    where = listen(text.format(port=0 if chosen_by_the_system else free_port()))
    server = await listening(asyncio.Protocol, where, setting="X_LISTEN")
    ports = {sock.getsockname()[1] for sock in server.sockets}
    assert len(ports) == 1
    assert len(server.sockets) == len(LOOPBACK)
    for host in LOOPBACK:
        _, writer = await asyncio.open_connection(host, *ports)
        assert writer.get_extra_info("peername")[0] == host, "and not ::ffff:127.0.0.1"
        writer.close()
    server.close()


async def test_every_ipv4_address_is_no_ipv6_address() -> None:
    server = await listening(asyncio.Protocol, Listen("0.0.0.0", 0), setting="X_LISTEN")
    assert [sock.family for sock in server.sockets] == [socket.AF_INET]
    server.close()


@pytest.mark.skipif("::1" not in LOOPBACK, reason="this machine has no IPv6")
async def test_a_port_that_is_taken_in_one_family_is_taken() -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as held,
        pytest.raises(CannotListen, match="the port is taken"),
    ):
        await listening(asyncio.Protocol, Listen(ANY_IPV6, held.getsockname()[1]), setting="X_LISTEN")


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_burst_is_accepted_in_parts_and_nobody_is_left_out(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    """On either loop: one at a time takes too long, and all at once leaves those who are connected waiting."""

    async def burst() -> None:
        accepted = list[asyncio.BaseTransport]()

        class Counted(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.append(transport)

        server = await listening(Counted, Listen("127.0.0.1", 0), setting="X_LISTEN")
        where = server.sockets[0].getsockname()
        clients = [socket.socket() for _ in range(200)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(where)
        seen = [0]
        async with asyncio.timeout(20):
            while len(accepted) < len(clients):
                await asyncio.sleep(0)
                seen.append(len(accepted))
        assert 1 < max(after - before for before, after in pairwise(seen)) <= ACCEPTS_PER_TURN
        for client in clients:
            client.close()
        for transport in accepted:
            transport.close()
        server.close()
        await asyncio.sleep(0)
        with socket.socket() as late:
            assert late.connect_ex(where) == errno.ECONNREFUSED, "every listening socket is closed"

    run(burst())
