"""One question to one resolver: over UDP from its own port, and over TCP when the answer was truncated.

It waits for an answer to exactly this question and ignores anything else on the socket. The caller limits
the wait, by cancelling it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from dns.codec import MAX_MESSAGE
from dns.foreign import ForeignReply, Odd, Sent, judge
from dns.forward_rules import ResolverAddress

# Datagrams read in one turn of the loop, so that a flood of forgeries does not block it.
BATCH: Final = 16
ReplyJudge: TypeAlias = Callable[[bytes, Sent], Awaitable[ForeignReply | Odd | None]]
"""Reads a message as the answer to a question, in its turn; None when it is not one."""

# Unrelated messages accepted before a TCP connection is given up: they are not forgeries there.
_MAX_STRANGE: Final = 4


async def over_udp(server: ResolverAddress, sent: Sent) -> ForeignReply | Odd:
    """Return the answer to `sent` from `server`. Raises OSError when the server cannot be reached.

    The socket is new and connected: the kernel picks a random port from its whole range, and delivers
    only datagrams from the server's address and port (RFC 5452 sections 9.2 and 10).
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[ForeignReply | Odd] = loop.create_future()
    with _connected(server) as asking:

        def read() -> None:
            for _ in range(BATCH):
                try:
                    found = judge(asking.recv(MAX_MESSAGE), sent)
                except BlockingIOError:
                    return
                except OSError as error:  # an ICMP error: no server listens there
                    if not answered.done():
                        answered.set_exception(error)
                    return
                if found is not None and not answered.done():
                    answered.set_result(found)

        loop.add_reader(asking.fileno(), read)
        try:
            asking.send(sent.message)
            return await answered
        finally:
            loop.remove_reader(asking.fileno())


def _connected(server: ResolverAddress) -> socket.socket:
    address = ipaddress.ip_address(server.host)
    asking = socket.socket(
        socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    )
    try:
        if isinstance(address, ipaddress.IPv6Address):
            scope = address.scope_id or "0"
            index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
            asking.connect((str(address).partition("%")[0], server.port, 0, index))
        else:
            asking.connect((server.host, server.port))
    except BaseException:
        asking.close()
        raise
    return asking


async def over_tcp(server: ResolverAddress, sent: Sent, judged: ReplyJudge) -> ForeignReply | Odd:
    """Return the answer to `sent` over TCP, as `judged` reads it. Raises OSError or EOFError when there is none."""
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=MAX_MESSAGE)
    try:
        writer.write(len(sent.message).to_bytes(2) + sent.message)
        for _ in range(_MAX_STRANGE):
            length = int.from_bytes(await reader.readexactly(2))
            found = await judged(await reader.readexactly(length), sent)
            if found is not None:
                return found
        raise ConnectionError("the messages received did not answer the question")
    finally:
        writer.transport.abort()
