"""A minimal baseline: an asyncio program that echoes what it receives over TCP and UDP.

Run as `python -m bench.echo TCP_PORT UDP_PORT`. It parses nothing and decides nothing.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast


class _Tcp(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class _Udp(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, since the standard loop's transport is not a DatagramTransport before Python 3.12.
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


async def serve(tcp_port: int, udp_port: int) -> None:
    """Echo until the process is stopped."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(_Udp, ("127.0.0.1", udp_port))
    server = await loop.create_server(_Tcp, "127.0.0.1", tcp_port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
