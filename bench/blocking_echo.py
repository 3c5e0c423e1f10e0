"""A minimal UDP server in Python: it blocks, receives and sends back one datagram at a time.

Run as `python -m bench.blocking_echo PORT`. It has no event loop and no batching and makes no answer: its cost is
the kernel and two calls.
"""

from __future__ import annotations

import socket
import sys


def serve(port: int) -> None:
    """Echo until the process is stopped."""
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    sock.bind(("127.0.0.1", port))
    while True:
        data, asker = sock.recvfrom(4096)
        sock.sendto(data, asker)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
