"""How long datagrams have waited in a socket's receive queue, by the kernel's own stamps (SIOCGSTAMPNS, socket(7)).

A queue of some megabytes that was filled while the loop was busy would be answered long after its askers have left, and
everybody behind it would wait for that. A stamp is asked for once for each full batch: where there is no backlog, this
costs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

# Stub resolvers ask again, or elsewhere, after a few seconds.
PATIENCE_S: Final = 2.0
# A stamp that differs more from our clock shows another clock, or that it was set meanwhile.
_MOST_S: Final = 60.0
_SIOCGSTAMPNS: Final = 0x8907
_STAMP: Final = struct.Struct("ll")


class DatagramAges:
    """The age of the datagram that was read last from one socket."""

    def __init__(
        self, listening: socket.socket, patience_s: float = PATIENCE_S, wall: Callable[[], float] = time.time
    ) -> None:
        self._socket = listening
        self._patience_s = patience_s
        self._wall = wall
        # The first call has the kernel stamp datagrams from now on. It fails: there is none yet.
        self._stamp()

    def too_late(self) -> bool:
        """Return whether the datagram that was read last had waited for longer than its asker does."""
        stamp = self._stamp()
        return stamp is not None and self._patience_s < self._wall() - stamp < _MOST_S

    def _stamp(self) -> float | None:
        with contextlib.suppress(OSError, ValueError):  # a closed socket has no number
            seconds, nanoseconds = _STAMP.unpack(fcntl.ioctl(self._socket, _SIOCGSTAMPNS, bytes(_STAMP.size)))
            stamp: float = seconds + nanoseconds / 1e9
            return stamp
        return None
