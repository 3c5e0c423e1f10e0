"""A server on every address has one port in both families, a given or a chosen one."""

from __future__ import annotations

import asyncio
import socket

import pytest

from registry_core.domain.host_port import ANY_IPV6
from registry_core.errors import CannotListen
from registry_core.listener import listening
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
