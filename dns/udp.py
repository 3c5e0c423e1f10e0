"""DNS over UDP: one listening socket on the event loop. It decides nothing.

It reads directly from the socket, a bounded batch per turn of the loop: asyncio's datagram transport
runs a callback for each datagram, which costs more than the answer.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from dns.batched_udp import Batched
from dns.mmsg import system_calls
from dns.one_by_one_udp import OneByOne
from dns.responder import Responder
from registry_core.resolution import addresses_to_listen_on

# Room for a burst that arrives while the loop is busy.
RECEIVE_BUFFER: Final = 4 * 1024 * 1024


class Exchange(Protocol):
    """A way to read queries from a socket and send the answers."""

    @property
    def dropped(self) -> int:
        """Answers that could not be sent."""
        ...

    def drain(self) -> None:
        """Answer the datagrams that have arrived, at most one batch. Never waits."""
        ...


ExchangeMaker: TypeAlias = Callable[[Responder, socket.socket], Exchange]


def fastest(responder: Responder, listening: socket.socket) -> Exchange:
    """Return the batched exchange where the system supports it, else the one that works everywhere."""
    calls = system_calls(listening)
    return Batched(responder, listening, calls) if calls is not None else OneByOne(responder, listening)


class UdpServer:
    """One listening socket, which it owns and closes."""

    def __init__(self, exchange: Exchange, listening: socket.socket) -> None:
        self.exchange = exchange
        self._socket = listening
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listening.fileno(), exchange.drain)

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def dropped(self) -> int:
        """Answers that could not be sent."""
        return self.exchange.dropped

    def close(self) -> None:
        """Stop answering. Safe to call twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()


async def serve_udp(responder: Responder, host: str, port: int, *, exchange: ExchangeMaker = fastest) -> UdpServer:
    """Answer datagrams on `host` (an IP address or a host name) from `responder`.

    Raises OSError when the address cannot be listened on.
    """
    numeric = (await addresses_to_listen_on(host))[0]
    # For an address this asks no resolver; it only finds its family and scope.
    infos = socket.getaddrinfo(numeric, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    family, kind, protocol, _, address = infos[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        listening.bind(address)
        return UdpServer(exchange(responder, listening), listening)
    except BaseException:
        listening.close()
        raise
