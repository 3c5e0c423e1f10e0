"""Checks whether this container's program is healthy: the images' HEALTHCHECK.

It imports almost nothing and is run by its path, because it starts every few seconds next to every service.

usage: python -I -S healthy.py SETTING DEFAULT PATH
       SETTING names the environment variable that says where the program listens.
       REGISTRY_TLS_CERT and REGISTRY_TLS_KEY are those of the program itself.
"""

from __future__ import annotations

import os
import socket
import sys

TIMEOUT_S = 2.0
# A program that listens on every address is asked on loopback.
_EVERY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}  # noqa: S104 - compared with, not bound to


def host_and_port(listen: str) -> tuple[str, int]:
    """Return host and port of `host:port`, `[ipv6]:port` or `:port`. Raises ValueError for anything else.

    `registry_core.domain.host_port` parses the same, but importing it would take longer than the whole check.
    """
    host, _, port = listen.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not is_port or (":" in bare and bare == host) or "]" in bare:
        raise ValueError(f"{listen!r} is not host:port")
    return bare, int(port)


def is_well(listen: str, path: str) -> bool:
    """Return whether `GET path` at `listen` (host:port, [ipv6]:port or :port) returns 200."""
    try:
        host, port = host_and_port(listen.strip())
        with _over_tls(socket.create_connection((_EVERY.get(host, host), port), TIMEOUT_S)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            status = connection.makefile("rb").readline(64).split(b" ")
    except (OSError, ValueError):
        return False
    return status[1:2] == [b"200"]


def _over_tls(connection: socket.socket) -> socket.socket:
    """Return the connection, with TLS if the program has a certificate of its own on its port.

    The program is asked on its own machine, so its name proves nothing. Where it wants certificates of its clients, it
    is shown its own.
    """
    cert, key = os.environ.get("REGISTRY_TLS_CERT", "").strip(), os.environ.get("REGISTRY_TLS_KEY", "").strip()
    if not cert:
        return connection
    import ssl  # noqa: PLC0415 - it takes longer to import than the whole check

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if os.environ.get("REGISTRY_TLS_CLIENT_CA"):
        context.load_cert_chain(cert, key or None)
    return context.wrap_socket(connection)


if __name__ == "__main__":
    setting, default, wanted = sys.argv[1:]
    sys.exit(not is_well(os.environ.get(setting) or default, wanted))
