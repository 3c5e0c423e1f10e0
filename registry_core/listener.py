"""Opens listening servers on an address or a name of this machine, and says in one line why one failed."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from registry_core.blocking import Threads
from registry_core.causes import cause_of
from registry_core.errors import CannotListen
from registry_core.listening_sockets import holder_of
from registry_core.resolution import addresses_to_listen_on
from registry_core.settings import Listen

BACKLOG: Final = 1024
# asyncio accepts as many in one turn of the loop as its queue is said to hold. Those that are accepted only to be
# closed have descriptors until then, and clients that are connected already wait meanwhile.
ACCEPTS_PER_TURN: Final = 16
_HANDLES: Final = 8
# With port 0 the system picks a free port of the first address, which may be in use on another: then one more is tried.
TRIES: Final = 20
LOOK_S: Final = 3.0
_FIRST_FREE_PORT: Final = 1024


class Listening:
    """Listening sockets, and whatever accepts their connections."""

    def __init__(self, server: asyncio.Server, beside: Sequence[asyncio.Server] = ()) -> None:
        self._servers = (server, *beside)

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The listening sockets; none after the end."""
        return self._servers[0].sockets

    def close(self) -> None:
        """Stop listening. Connections stay."""
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Wait until nothing is accepted any more."""
        await asyncio.gather(*(server.wait_closed() for server in self._servers))


async def listening(
    protocol: Callable[[], asyncio.Protocol], where: Listen, what: str = "", *, setting: str
) -> Listening:
    """Return a server that serves each connection with a new `protocol`.

    Raises CannotListen, which names `what` and the `setting` of the address.
    """
    loop = asyncio.get_running_loop()
    serve = partial(loop.create_server, protocol, backlog=ACCEPTS_PER_TURN)
    try:
        addresses = await addresses_to_listen_on(where.host)
        chooses = where.port == 0 and len(addresses) > 1
        for left in reversed(range(TRIES if chooses else 1)):
            port = _free_port(addresses[0]) if chooses else where.port
            try:
                server = await serve(addresses, port)
            except OSError:
                if not left:
                    raise
            else:
                return await accepting_several(server, serve)
    except OSError as error:
        raise await cannot_listen(where, error, what, setting=setting) from error
    raise AssertionError("the last try returns or raises")


async def accepting_several(server: asyncio.Server, serve: Callable[..., Awaitable[asyncio.Server]]) -> Listening:
    """Let `server` accept several connections in one turn of the loop, but not all of a burst.

    `serve` takes a socket, `sock`, and serves it as well: uvloop accepts one connection of each listening socket in one
    turn, so there the same one is listened on several times.
    """
    more = 0 if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop) else _HANDLES - 1
    beside = [await serve(sock=_same(each)) for each in server.sockets for _ in range(more)]
    for each in server.sockets:
        with _same(each) as same:
            same.listen(BACKLOG)
    return Listening(server, beside)


def _same(each: socket.socket) -> socket.socket:
    return socket.socket(fileno=os.dup(each.fileno()))


def _free_port(address: str) -> int:
    """Return a TCP port that is free on `address` now."""
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        port: int = probe.getsockname()[1]
        return port


async def cannot_listen(
    where: Listen, error: OSError, what: str = "", *, setting: str, kind: str = "tcp"
) -> CannotListen:
    """Return the error to raise when `what` cannot listen on `where`, of which `setting` is the setting."""
    holder = ""
    if error.errno == errno.EADDRINUSE:
        try:
            holder = await Threads("find a port's holder", 1).run(partial(holder_of, kind, where), timeout_s=LOOK_S)
        except (OSError, TimeoutError):
            holder = ""
    wanted = f"{where} for {what}" if what else str(where)
    return CannotListen(f"cannot listen on {wanted}: {why_not_listening(where, error, setting, holder)}")


def why_not_listening(where: Listen, error: OSError, setting: str, holder: str) -> str:
    """Return the reason and the cure for a socket that could not be bound; `holder` is the program with the port."""
    match error.errno:
        case errno.EADDRINUSE:
            by = holder or f"a program that this user cannot see (`ss -lnp 'sport = :{where.port}'` as root shows it)"
            return f"the port is taken by {by}; stop it, or set {setting} to another port"
        case errno.EACCES if where.port < _FIRST_FREE_PORT:
            return (
                f"this user may not use ports below {_FIRST_FREE_PORT}; give the program CAP_NET_BIND_SERVICE, or set "
                f"{setting} to a higher port"
            )
        case errno.EADDRNOTAVAIL:
            return f"this machine has no such address; set {setting} to one that it has, or to :{where.port} for all"
        case _:
            return f"{cause_of(error)}; {setting} sets the address"
