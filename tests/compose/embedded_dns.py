"""Docker's resolver at 127.0.0.11, approximately: it runs in a container's network namespace and needs no packages.

A name of one label is a container's, and is resolved by the network's own resolver. Any other query is passed on
unchanged to the servers in the container's `dns:`, or, without them, gets a fixed answer.

usage: python embedded_dns.py LISTEN NAMES OUTSIDE       addresses; OUTSIDE may be `answers`
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import Final

# The fixed answer to every query for an address outside.
OUTSIDE_ADDRESS: Final = "192.0.2.80"


def labels_in(query: bytes) -> int:
    """Return the number of labels in the queried name."""
    count, at = 0, 12
    while query[at]:
        count, at = count + 1, at + 1 + query[at]
    return count


def from_outside(query: bytes) -> bytes:
    """Return an answer with one address, whatever the query."""
    end = query.index(b"\0", 12) + 5
    record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04" + socket.inet_aton(OUTSIDE_ADDRESS)
    return query[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + query[12:end] + record


def asked(query: bytes, server: str) -> bytes | None:
    """Pass a query on and return the answer, or None."""
    with socket.socket(type=socket.SOCK_DGRAM) as onward:
        onward.settimeout(4)
        try:
            onward.connect((server, 53))
            onward.send(query)
            return onward.recv(65535)
        except OSError:
            return None


def main() -> None:
    """Answer until killed."""
    listen, names, outside = sys.argv[1:]
    with socket.socket(type=socket.SOCK_DGRAM) as face:
        face.bind((listen, 53))
        print("ready", flush=True)  # noqa: T201 - it is a program

        def answer(query: bytes, asker: tuple[str, int]) -> None:
            if labels_in(query) == 1:
                said = asked(query, names)
            else:
                said = from_outside(query) if outside == "answers" else asked(query, outside)
            if said is not None:
                face.sendto(said, asker)

        while True:
            query, asker = face.recvfrom(65535)
            threading.Thread(target=answer, args=(query, asker), daemon=True).start()


if __name__ == "__main__":
    main()
