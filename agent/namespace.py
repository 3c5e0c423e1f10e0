"""Detects that this agent's network namespace has lost its container.

A container that restarts gets a new namespace. An agent that shared the old one stays behind in it, without any
network: all it sees is that every interface except `lo` is gone. It then exits, so that its restart puts it into
the new namespace.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from typing import Final

import structlog

# A network may be reattached while a container runs: that takes less than this many looks, one a second.
LOOKS: Final = 3

_log = structlog.get_logger(component="agent")


def interfaces() -> frozenset[str]:
    """Return the names of the network interfaces, except `lo`."""
    return frozenset(name for _, name in socket.if_nameindex() if name != "lo")


class Namespace:
    """The namespace this process started in. It is kept outside the loop that polls it, which may be restarted."""

    def __init__(self, seen: Callable[[], frozenset[str]] = interfaces) -> None:
        """`seen` returns the current interfaces, except `lo`."""
        self._seen = seen
        self._had_any = False
        self._without = 0

    def is_left_behind(self) -> bool:
        """Look again; return whether there was no interface for LOOKS looks in a row after there had been one.

        Raises OSError when the interfaces cannot be read now (no free descriptor), which says nothing about them.
        """
        is_there = bool(self._seen())
        self._had_any |= is_there
        self._without = 0 if is_there else self._without + 1
        return self._had_any and self._without >= LOOKS


async def end_when_left_behind(namespace: Namespace, look_every_s: float) -> None:
    """End this process, as by SIGTERM, once it is left behind. Raises OSError as `Namespace` does."""
    while not namespace.is_left_behind():  # noqa: ASYNC110 - there is no notification: it must be polled
        await asyncio.sleep(look_every_s)
    _log.warning("namespace_gone", because="every network interface except lo is gone: exiting to be restarted")
    signal.raise_signal(signal.SIGTERM)
