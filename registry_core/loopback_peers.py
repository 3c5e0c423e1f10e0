"""Finds out which processes the loopback connections to a port belong to, from /proc (proc(5)). Linux only.

Where another user's process, or another container's, cannot be seen, its user is what its connections have in common.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from registry_core.listening_sockets import ROOT, sockets_of_processes

_MAX_FILE_BYTES: Final = 8 * 1024 * 1024
_ESTABLISHED: Final = b"01"  # include/net/tcp_states.h


def loopback_peers(port: int, root: Path = ROOT) -> Mapping[int, str]:
    """Return whose the connections to the TCP port `port` of this machine are, by the other end's port. Blocks.

    An owner is `pid 77`, or `uid 1000` if the process cannot be seen. Connections from elsewhere are not among them.
    """
    sockets = dict(_sockets(port, root))
    inodes = {inode for _, inode in sockets.values()}
    processes = sockets_of_processes(root, inodes) if inodes else {}
    return {
        peer: f"pid {processes[inode]}" if inode in processes else f"uid {user}"
        for peer, (user, inode) in sockets.items()
    }


def _sockets(port: int, root: Path) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield the port of each socket that is connected to `port`, with its user and its inode."""
    # sl, local address, remote address, state, queues, timer, retransmits, user, timeouts, inode
    line = re.compile(
        rb"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:%04X %b \S+ \S+ \S+ +(\d+) +\d+ (\d+) " % (port, _ESTABLISHED),
        re.MULTILINE,
    )
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), (root / "proc/net" / name).open("rb") as file:
            for found in line.finditer(file.read(_MAX_FILE_BYTES)):
                yield int(found[1], 16), (found[2].decode(), found[3].decode())
