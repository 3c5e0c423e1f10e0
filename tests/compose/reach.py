"""Calls services by name alone: finds where each listens over DNS (SRV), as any program might.

Run in a container: `python reach.py NAME...`. It prints one line each: the name, the address, the port, and 1 or 0
for whether an HTTP server answered there.
"""

from __future__ import annotations

import http.client
import secrets
import socket
import struct
import sys

RESOLVER = ("127.0.0.1", 53)
SRV = 33
ZONE = "vertice.internal"


def encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def name_at(message: bytes, at: int) -> tuple[str, int]:
    """Return the name at an offset, and the offset of its end (RFC 1035 section 4.1.4)."""
    labels, end = [], 0
    while message[at]:
        if message[at] & 0xC0:
            end, at = end or at + 2, (message[at] & 0x3F) << 8 | message[at + 1]
            continue
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), end or at + 1


def service_at(name: str) -> tuple[str, int]:
    """Return host and port of a service. Raises OSError, LookupError."""
    label = name.replace("_", "-")
    query = secrets.token_bytes(2) + b"\1\0\0\1\0\0\0\0\0\0" + encoded(f"_{label}._tcp.{ZONE}") + b"\0\x21\0\1"
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(3)
        asking.sendto(query, RESOLVER)
        message = asking.recv(4096)
    at = len(query)
    for _ in range(int.from_bytes(message[6:8])):
        _, at = name_at(message, at)
        kind, length = struct.unpack_from("!H6xH", message, at)
        if kind == SRV:
            (port,) = struct.unpack_from("!H", message, at + 14)
            return name_at(message, at + 16)[0], port
        at += 10 + length
    raise LookupError(f"no SRV record of {name}")


def reached(name: str) -> str:
    address, port, answered = "-", 0, 0
    try:
        host, port = service_at(name)
        address = socket.gethostbyname(host)
        connection = http.client.HTTPConnection(address, port, timeout=3)
        connection.request("GET", "/")
        answered = int(connection.getresponse().status == http.client.OK)
    except (OSError, LookupError, http.client.HTTPException):
        pass
    return f"{name} {address} {port} {answered}"


if __name__ == "__main__":
    sys.stdout.write("\n".join(map(reached, sys.argv[1:])) + "\n")
