"""Whether this agent is still in the network namespace of a living container.

A container that restarts gets a new namespace. An agent that shares the one before stays behind in it: it reaches
nobody, and nobody asks it. All that it sees is that every interface but `lo` has gone. Then it had better end, so
that its restart puts it into the new one.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Final

import structlog

# A network may be attached anew while a container runs: that takes less than so many looks, one a second.
LOOKS: Final = 3

_log = structlog.get_logger(component="agent")


def interfaces() -> frozenset[str]:
    """Return the names of the network interfaces here, but for `lo`."""
    return frozenset(name for _, name in socket.if_nameindex() if name != "lo")


class Namespace:
    """The namespace that this process began in. It outlives the loop that looks at it, which may fail now and then."""

    def __init__(self, seen: Callable[[], frozenset[str]] = interfaces) -> None:
        """`seen` returns the interfaces that are there now, but for `lo`."""
        self._seen = seen
        self._had_any = False
        self._without = 0

    def is_left_behind(self) -> bool:
        """Look once more; return whether nothing has been there for LOOKS looks in a row, where once there was.

        Raises OSError when it cannot be looked at now (there is no free descriptor), which tells nothing of it.
        """
        is_there = bool(self._seen())
        self._had_any |= is_there
        self._without = 0 if is_there else self._without + 1
        return self._had_any and self._without >= LOOKS


async def end_when_left_behind(namespace: Namespace, look_every_s: float) -> None:
    """Have this process end, as by SIGTERM, when it is left behind. Raises OSError as `Namespace` does."""
    while not namespace.is_left_behind():  # noqa: ASYNC110 - nobody tells: it has to be looked at
        await asyncio.sleep(look_every_s)
    _log.warning("namespace_gone", because="every network interface but lo has gone: ending, to be restarted")
    signal.raise_signal(signal.SIGTERM)
