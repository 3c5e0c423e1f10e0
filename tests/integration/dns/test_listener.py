"""DNS on one port over UDP and TCP: it tries another one while the system chooses, and cleans up after failures."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterator

import pytest

from dns import listener
from dns.dns_settings import DnsSettings
from dns.listener import TRIES, serve_dns
from dns.responder import Responder
from dns.tcp import TcpLimits, TcpServer, serve_tcp
from registry_core.errors import CannotListen
from registry_core.settings import Listen
from tests.programs import free_port
from tests.views import StandingView

ANY = Listen("127.0.0.1", 0)


@pytest.fixture
def responder() -> Responder:
    return Responder(StandingView(), DnsSettings(), random.Random(7))


class Taken:
    """TCP ports of which the first ones are taken."""

    def __init__(self, count: int) -> None:
        self.left = count

    async def __call__(self, responder: Responder, host: str, port: int, limits: TcpLimits | None = None) -> TcpServer:
        if self.left:
            self.left -= 1
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return await serve_tcp(responder, host, port, limits)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_both_listen_on_the_same_port(responder: Responder, host: str) -> None:
    udp, tcp = await serve_dns(responder, Listen(host, 0), setting="X_LISTEN")
    assert udp.port == tcp.port
    await udp.close()
    await tcp.close()


async def test_a_port_taken_for_tcp_is_exchanged_for_another(
    responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "serve_tcp", Taken(3))
    udp, tcp = await serve_dns(responder, ANY, setting="X_LISTEN")
    assert udp.port == tcp.port
    await udp.close()
    await tcp.close()


async def test_the_number_of_tries_is_limited(responder: Responder, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Taken(TRIES)
    monkeypatch.setattr(listener, "serve_tcp", taken)
    with pytest.raises(CannotListen, match="for DNS over TCP: the port is taken"):
        await serve_dns(responder, ANY, setting="X_LISTEN")
    assert taken.left == 0


@pytest.fixture
def held() -> Iterator[int]:
    """Occupy a port for TCP only."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        yield port


async def test_a_configured_port_is_not_exchanged(responder: Responder, held: int) -> None:
    where = Listen("127.0.0.1", held)
    with pytest.raises(CannotListen, match=f"cannot listen on {where} for DNS over TCP: the port is taken"):
        await serve_dns(responder, where, setting="X_LISTEN")
    with socket.socket(type=socket.SOCK_DGRAM) as free_again:
        free_again.bind(("127.0.0.1", held))


async def test_an_address_that_this_machine_lacks_is_reported(responder: Responder) -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.7:53 for DNS: "):
        await serve_dns(responder, Listen("192.0.2.7", 53), setting="X_LISTEN")
