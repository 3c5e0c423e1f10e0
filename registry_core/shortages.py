"""Recognises this program's own shortages: no descriptor, memory or thread left.

An operation that fails for such a reason says nothing about the peer that it was meant for.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from registry_core.causes import cause_of

# EAGAIN: the system or a container allows no more processes or threads; connect(2) and fork(2).
_NUMBERS: Final = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN),
)


def is_shortage(error: BaseException) -> bool:
    """Return whether `error` comes from a shortage on this side."""
    if isinstance(error, socket.gaierror):  # its numbers are not those of errno
        return error.errno == socket.EAI_MEMORY
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _NUMBERS)


def socket_shortage() -> str:
    """Return why no socket can be opened now; empty if one can.

    The system's resolver reports a missing descriptor as a name that does not exist.
    """
    try:
        socket.socket().close()
    except OSError as error:
        return cause_of(error)
    return ""
