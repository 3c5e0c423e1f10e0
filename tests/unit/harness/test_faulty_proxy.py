"""The proxy that simulates a bad network for other tests does what it promises."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faulty_proxy import proxied


@pytest.fixture
def echo_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    while data := connection.recv(4096):
                        connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


def test_everything_is_forwarded_and_delayed_in_both_directions(echo_port: int) -> None:
    with proxied(echo_port, delay_s=0.05) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as asker:
        began = time.monotonic()
        asker.sendall(b"x" * 1000)
        received = b""
        while len(received) < 1000:
            received += asker.recv(4096)
        assert time.monotonic() - began >= 0.1  # a lower bound: the delay itself
        assert received == b"x" * 1000


def test_a_stall_holds_traffic_without_losing_any(echo_port: int) -> None:
    with proxied(echo_port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as asker:
        proxy.stalled = True
        asker.sendall(b"hello")
        asker.settimeout(0.3)
        with pytest.raises(TimeoutError):
            asker.recv(10)
        proxy.stalled = False
        asker.settimeout(10)
        assert asker.recv(10) == b"hello"


def test_closing_the_proxy_ends_its_connections(echo_port: int) -> None:
    with proxied(echo_port) as proxy:
        asker = socket.create_connection(("127.0.0.1", proxy.port), 10)
        asker.sendall(b"hello")
        assert asker.recv(10) == b"hello"
    with asker, contextlib.suppress(ConnectionResetError):
        assert asker.recv(10) == b""
