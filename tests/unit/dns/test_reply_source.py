"""Where an answer is to leave from, of what the kernel says about the query."""

from __future__ import annotations

import socket
import sys

import pytest

from dns.reply_source import NO_SOURCE, ReplySource, reply_source

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the numbers are Linux's")


def of(family: int, host: str) -> ReplySource:
    source = reply_source(family, host)
    assert source is not None
    return source


@pytest.mark.parametrize(
    ("family", "host"),
    [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET6, "fe80::1%lo")],
)
def test_a_socket_of_one_address_needs_nothing(family: int, host: str) -> None:
    assert reply_source(family, host) is None


def test_the_interface_is_left_to_the_routes() -> None:
    index, asked = (7).to_bytes(4, sys.byteorder), socket.inet_aton("10.0.0.2")
    v4 = of(socket.AF_INET, "0.0.0.0")
    kept = v4.of([(v4.level, v4.kind, index + asked + asked)])
    assert kept == ((socket.IPPROTO_IP, 8, bytes(4) + asked + asked),)
    v6, asked = of(socket.AF_INET6, "::"), socket.inet_pton(socket.AF_INET6, "fd00::2")
    kept = v6.of([(v6.level, v6.kind, asked + index)])
    assert kept == ((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, asked + bytes(4)),)


def test_other_control_messages_say_nothing() -> None:
    v4 = of(socket.AF_INET, "0.0.0.0")
    assert v4.of([]) == NO_SOURCE
    assert v4.of([(socket.SOL_SOCKET, v4.kind, bytes(12)), (v4.level, v4.kind, bytes(4))]) == NO_SOURCE
