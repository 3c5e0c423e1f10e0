"""One attacker: a process of its own that holds connections to a port of this machine, in one of several ways.

usage: python -m tests.attacks.attacker KIND PORT COUNT FACE ADDRESS

It prints `ready` when all its connections are made, and goes on until it is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable

from dnslib import DNSRecord

from registry_core.descriptors import raise_descriptor_limit

HEAD = b"HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /services " + HEAD + b"\r\n"
LARGE = b"GET /openapi.json " + HEAD + b"\r\n"
BODY = b"POST /register " + HEAD + b"Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"
_QUERY = bytes(DNSRecord.question("ip-intel.vertice.internal").pack())
QUERY = len(_QUERY).to_bytes(2) + _QUERY
TRICKLE_S = 1.0
# Those who make connections as fast as they can do not wait before they come back.
QUICK = frozenset({"handshakes"})
AT_ONCE = 200
# How long one whose connection has ended waits before it makes another.
COMES_BACK_S = 2.0


async def connected(port: int) -> socket.socket:
    """Return a new connection, of which little is read ahead."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, (ADDRESS[0], port))
    return client


async def held(client: socket.socket) -> None:
    """Hold a connection until the server ends it, reading nothing."""
    while client.fileno() >= 0:
        with contextlib.suppress(BlockingIOError):
            if client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                return
        await asyncio.sleep(1.0)


async def asked(client: socket.socket, request: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, request)
    await loop.sock_recv(client, 65536)


async def idle(client: socket.socket, port: int) -> None:
    """Make one good request, then idle."""
    await asked(client, QUERY if port in DNS_PORTS else GET)
    while await asyncio.get_running_loop().sock_recv(client, 65536):
        pass


async def silent(client: socket.socket, _port: int) -> None:
    """Say nothing."""
    await asyncio.get_running_loop().sock_recv(client, 1)


async def half_header(client: socket.socket, port: int) -> None:
    """Send a header, or a query, byte by byte."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, QUERY[:-8] if port in DNS_PORTS else b"GET /services HTTP/1.1\r\nX: ")
    while True:
        await asyncio.sleep(TRICKLE_S)
        await loop.sock_sendall(client, b"x")


async def half_body(client: socket.socket, _port: int) -> None:
    """Send a body byte by byte."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, BODY)
    while True:
        await asyncio.sleep(TRICKLE_S)
        await loop.sock_sendall(client, b"x")


async def large_header(client: socket.socket, _port: int) -> None:
    """Send one header field after the other, without end."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, b"GET /services HTTP/1.1\r\n")
    while True:
        await loop.sock_sendall(client, b"X-Field: " + b"x" * 4000 + b"\r\n")
        await asyncio.sleep(0.1)


async def unread(client: socket.socket, port: int) -> None:
    """Ask for much, and read nothing of it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            await asyncio.get_running_loop().sock_sendall(client, (QUERY if port in DNS_PORTS else LARGE) * 200)
    await held(client)


async def pipelined(client: socket.socket, port: int) -> None:
    """Send request after request, and throw the answers away."""
    loop = asyncio.get_running_loop()

    async def read() -> None:
        while await loop.sock_recv(client, 65536):
            pass

    reading = asyncio.ensure_future(read())
    try:
        while True:
            await loop.sock_sendall(client, (QUERY if port in DNS_PORTS else GET) * 500)
    finally:
        reading.cancel()


async def handshakes(client: socket.socket, _port: int) -> None:
    """Begin a TLS handshake, take the dear answer, and end there."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, HELLO)
    await loop.sock_recv(client, 65536)


async def no_handshake(client: socket.socket, _port: int) -> None:
    """Begin a TLS handshake, and never go on with it."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, HELLO[:-8])
    await loop.sock_recv(client, 1)


async def never_ready(client: socket.socket, _port: int) -> None:
    """Send query after query for which no answer is ready: each has a cookie of its own."""
    loop = asyncio.get_running_loop()
    while True:
        queries = [with_cookie(os.urandom(8)) for _ in range(100)]
        await loop.sock_sendall(client, b"".join(len(query).to_bytes(2) + query for query in queries))
        await loop.sock_recv(client, 65536)


def client_hello() -> bytes:
    """Return the first octets of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


HELLO = client_hello()


def with_cookie(cookie: bytes) -> bytes:
    """Return the query with an EDNS option of 8 octets (RFC 7873)."""
    option = b"\0\x0a\0\x08" + cookie
    opt = b"\0\0\x29\x04\xd0\0\0\0\0" + len(option).to_bytes(2) + option
    return _QUERY[:10] + b"\0\1" + _QUERY[12:] + opt


async def half_closed(client: socket.socket, port: int) -> None:
    """Make one good request, close one's own half, and stay."""
    await asked(client, QUERY if port in DNS_PORTS else GET)
    client.shutdown(socket.SHUT_WR)
    await asyncio.sleep(3600)


KINDS: dict[str, Callable[[socket.socket, int], Awaitable[None]]] = {
    each.__name__: each
    for each in (
        idle,
        silent,
        half_header,
        half_body,
        large_header,
        unread,
        pipelined,
        never_ready,
        handshakes,
        no_handshake,
        half_closed,
    )
}
DNS_PORTS: set[int] = set()
ADDRESS: list[str] = ["127.0.0.1"]


async def attack(kind: str, port: int, count: int) -> None:
    """Hold `count` connections, and replace each that ends."""
    started = 0
    everyone = asyncio.Event()
    slots = asyncio.Semaphore(AT_ONCE)

    async def one() -> None:
        nonlocal started
        first = True
        while True:
            client: socket.socket | None = None
            with contextlib.suppress(OSError):
                async with slots:
                    client = await connected(port)
                if first:
                    first, started = False, started + 1
                    if started == count:
                        everyone.set()
                await KINDS[kind](client, port)
            if client is not None:
                client.close()
            if kind not in QUICK or client is None:
                await asyncio.sleep(COMES_BACK_S)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
        await everyone.wait()
        sys.stdout.write("ready\n")
        sys.stdout.flush()


def main() -> None:
    """Attack as the command line says."""
    kind, port, count, face, ADDRESS[0] = sys.argv[1:]
    if face == "dns":
        DNS_PORTS.add(int(port))
    raise_descriptor_limit()
    asyncio.run(attack(kind, int(port), int(count)))


if __name__ == "__main__":
    main()
