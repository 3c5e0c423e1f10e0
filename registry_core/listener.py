"""Opens listening servers on an address or a name of this machine, and says in one line why one failed."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Final

from registry_core.errors import CannotListen
from registry_core.resolution import addresses_to_listen_on
from registry_core.settings import Listen

BACKLOG: Final = 1024
_KNOWN: Final = {errno.EADDRINUSE: "the port is taken", errno.EACCES: "not allowed"}


async def listening(protocol: Callable[[], asyncio.Protocol], where: Listen, what: str = "") -> asyncio.Server:
    """Return a server that serves each connection with a new `protocol`. Raises CannotListen, which names `what`."""
    try:
        addresses = await addresses_to_listen_on(where.host)
        loop = asyncio.get_running_loop()
        return await loop.create_server(protocol, addresses, where.port, backlog=BACKLOG)
    except OSError as error:
        raise cannot_listen(where, error, what) from error


def cannot_listen(where: Listen, error: OSError, what: str = "") -> CannotListen:
    """Return the error to raise when `what` cannot listen on `where`."""
    wanted = f"{where} for {what}" if what else str(where)
    return CannotListen(f"cannot listen on {wanted}: {_KNOWN.get(error.errno or 0, str(error))}")
