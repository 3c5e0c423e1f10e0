"""DNS over UDP: a listening socket for each address, in a thread of its own or on the event loop. It decides nothing.

It reads directly from the sockets, on the loop a bounded batch per turn: asyncio's datagram transport runs a callback
for each datagram, which costs more than the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeAlias

from dns.batched_udp import Batched
from dns.beside_loop import END_S, BesideLoop, can_have_threads
from dns.mmsg import system_calls
from dns.one_by_one_udp import OneByOne
from dns.reply_source import ReplySource, reply_source
from dns.responder import Responder
from registry_core.blocking import NoThread, Threads
from registry_core.resolution import addresses_to_listen_on

# Room for a burst that arrives while the loop is busy.
RECEIVE_BUFFER: Final = 4 * 1024 * 1024
PROBE_S: Final = 1.0
_LOOPBACK: Final[dict[int, str]] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class Exchange(Protocol):
    """A way to read queries from a socket and send the answers."""

    @property
    def dropped(self) -> int:
        """Answers that could not be sent."""
        ...

    @property
    def received(self) -> int:
        """Datagrams that were read."""
        ...

    @property
    def too_late(self) -> int:
        """Queries that had waited for longer than their askers do, and were not answered."""
        ...

    def drain(self) -> None:
        """Answer the datagrams that have arrived, at most one batch. Never waits. It is the loop's."""
        ...


ExchangeMaker: TypeAlias = Callable[[Responder, socket.socket, ReplySource | None], Exchange]


def fastest(responder: Responder, listening: socket.socket, source: ReplySource | None) -> Exchange:
    """Return the exchange in a thread where the system supports it, else the batched one, or that for all systems."""
    calls = system_calls(listening)
    if calls is None:
        return OneByOne(responder, listening, source)
    return (BesideLoop if can_have_threads() else Batched)(responder, listening, source, calls)


class UdpServer:
    """Listening sockets on one port, which it owns and closes."""

    def __init__(self, responder: Responder, exchanges: Sequence[tuple[socket.socket, Exchange]]) -> None:
        """Serve until `close`; from now on, `responder` shares the loop with others."""
        responder.work.share_loop()
        self._exchanges = exchanges
        self._loop = asyncio.get_running_loop()
        for listening, exchange in exchanges:
            if not (isinstance(exchange, BesideLoop) and exchange.begin()):
                self._loop.add_reader(listening.fileno(), exchange.drain)

    @property
    def port(self) -> int:
        port: int = self._exchanges[0][0].getsockname()[1]
        return port

    @property
    def dropped(self) -> int:
        """Answers that could not be sent."""
        return sum(exchange.dropped for _, exchange in self._exchanges)

    @property
    def received(self) -> int:
        """Datagrams that were read."""
        return sum(exchange.received for _, exchange in self._exchanges)

    @property
    def too_late(self) -> int:
        """Queries that had waited for longer than their askers do, and were not answered."""
        return sum(exchange.too_late for _, exchange in self._exchanges)

    async def close(self) -> None:
        """Stop answering, and wait up to END_S for it. Safe to call twice."""
        threads = []
        for listening, exchange in self._exchanges:
            if isinstance(exchange, BesideLoop) and (thread := exchange.end()) is not None:
                threads.append(thread)
            elif listening.fileno() >= 0:
                self._loop.remove_reader(listening.fileno())
                listening.close()
        for thread in threads:
            await thread.wait(END_S)


async def serve_udp(responder: Responder, host: str, port: int, *, exchange: ExchangeMaker = fastest) -> UdpServer:
    """Answer datagrams on `host` (an IP address or a host name) from `responder`.

    With port 0, the system chooses the port of the first address, and the others get the same one. Raises OSError
    when an address cannot be listened on.
    """
    exchanges: list[tuple[socket.socket, Exchange]] = []
    try:
        for numeric in await addresses_to_listen_on(host):
            listening, source = await _bound(numeric, port)
            try:
                exchanges.append((listening, exchange(responder, listening, source)))
            except BaseException:
                listening.close()
                raise
            port = listening.getsockname()[1]
        return UdpServer(responder, exchanges)
    except BaseException:
        for listening, _ in exchanges:
            listening.close()
        raise


async def _bound(numeric: str, port: int) -> tuple[socket.socket, ReplySource | None]:
    """Return a socket bound to the address, and what its answers need. Raises OSError."""
    # For an address this asks no resolver; it only finds its family and scope.
    infos = socket.getaddrinfo(numeric, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    family, kind, protocol, _, address = infos[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            # As over TCP: IPv4 has a socket of its own, and no client appears as ::ffff:a.b.c.d.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        source = reply_source(family, str(address[0]))
        if source is not None and not await _works(family, source):
            source = None
        if source is not None:
            source.enable(listening)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening, source


async def _works(family: int, source: ReplySource) -> bool:
    """Return whether this system does all that `source` needs. A sandbox may do a part: then no answer would leave."""
    with contextlib.suppress(TimeoutError, NoThread):
        return await Threads("try UDP", 1).run(partial(_tried, family, source), timeout_s=3 * PROBE_S)
    return True  # it could not be tried


def _tried(family: int, source: ReplySource) -> bool:
    """Ask and answer over loopback. Blocks, in a system that fails at it for PROBE_S."""
    with (
        contextlib.suppress(OSError),
        socket.socket(family, socket.SOCK_DGRAM) as server,
        socket.socket(family, socket.SOCK_DGRAM) as client,
    ):
        for each in (server, client):
            each.settimeout(PROBE_S)
        source.enable(server)
        server.bind(("", 0))
        client.connect((_LOOPBACK[family], server.getsockname()[1]))
        client.send(b"?")
        _, control, _, asker = server.recvmsg(1, socket.CMSG_SPACE(source.size))
        asked = source.of(control)
        server.sendmsg((b"!",), asked, 0, asker)
        return bool(asked) and client.recv(1) == b"!"
    return False
