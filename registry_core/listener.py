"""Opens listening servers on an address or a name of this machine, and says in one line why one failed."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from registry_core.errors import CannotListen
from registry_core.resolution import addresses_to_listen_on
from registry_core.settings import Listen

BACKLOG: Final = 1024
# With port 0 the system picks a free port of the first address, which may be in use on another: then one more is tried.
TRIES: Final = 20
_KNOWN: Final = {errno.EADDRINUSE: "the port is taken", errno.EACCES: "not allowed"}


async def listening(protocol: Callable[[], asyncio.Protocol], where: Listen, what: str = "") -> asyncio.Server:
    """Return a server that serves each connection with a new `protocol`. Raises CannotListen, which names `what`."""
    loop = asyncio.get_running_loop()
    try:
        addresses = await addresses_to_listen_on(where.host)
        chooses = where.port == 0 and len(addresses) > 1
        for left in reversed(range(TRIES if chooses else 1)):
            port = _free_port(addresses[0]) if chooses else where.port
            try:
                return await loop.create_server(protocol, addresses, port, backlog=BACKLOG)
            except OSError:
                if not left:
                    raise
    except OSError as error:
        raise cannot_listen(where, error, what) from error
    raise AssertionError("the last try returns or raises")


def _free_port(address: str) -> int:
    """Return a TCP port that is free on `address` now."""
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        port: int = probe.getsockname()[1]
        return port


def cannot_listen(where: Listen, error: OSError, what: str = "") -> CannotListen:
    """Return the error to raise when `what` cannot listen on `where`."""
    wanted = f"{where} for {what}" if what else str(where)
    return CannotListen(f"cannot listen on {wanted}: {_KNOWN.get(error.errno or 0, str(error))}")
