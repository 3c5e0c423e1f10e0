"""DNS over UDP: takes datagrams off the socket and puts answers on it. It decides nothing.

Read straight from the socket, a bounded batch for each turn of the loop: asyncio's own datagram
transport makes a callback of each datagram, which costs more than the answer does.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any, Final

from dns.responder import Responder

# Datagrams for each turn of the loop; then the others have theirs.
BATCH: Final = 64
# Room for the burst that arrives while the loop is busy with something else.
RECEIVE_BUFFER: Final = 4 * 1024 * 1024
# A query is at most this large; what is cut off makes it malformed, and is answered as such.
MAX_QUERY: Final = 4096


class UdpServer:
    """One listening socket."""

    def __init__(self, responder: Responder, listening: socket.socket) -> None:
        self._responder = responder
        self._socket = listening
        self._loop = asyncio.get_running_loop()
        self.dropped = 0  # answers that the socket would not take
        self._loop.add_reader(listening.fileno(), self._drain)

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def close(self) -> None:
        """Stop answering. Safe to call twice."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _drain(self) -> None:
        receive, send = self._socket.recvfrom, self._socket.sendto
        answer, answer_remote, is_local = self._responder.udp, self._responder.remote, self._responder.is_local
        for _ in range(BATCH):
            try:
                query, asker = receive(MAX_QUERY)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error of an earlier answer (nobody listens there any more): no fault of ours.
                continue
            reply = answer(query) if is_local(asker[0]) else answer_remote(query, asker[0])
            # Port 0 cannot be answered.
            if reply is None or not asker[1]:
                later = self._responder.take_later()
                if later is not None:
                    later.add_done_callback(partial(self._send_later, asker))
                continue
            try:
                send(reply, asker)
            except OSError:
                # A full buffer or an unreachable asker: UDP may lose an answer, the asker asks again.
                self.dropped += 1

    def _send_later(self, asker: tuple[Any, ...], answer: asyncio.Future[bytes]) -> None:
        """Send what others had to be asked for, unless the agent has ended meanwhile."""
        if answer.cancelled() or self._socket.fileno() < 0 or not asker[1]:
            return
        try:
            self._socket.sendto(answer.result(), asker)
        except OSError:
            self.dropped += 1


async def serve_udp(responder: Responder, host: str, port: int) -> UdpServer:
    """Answer datagrams on `host` (an IP address or a name of one) out of `responder`.

    Raises OSError when the address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = infos[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return UdpServer(responder, listening)
