"""`host:port` as one text: how it is read and written, and that the images' health check reads it in the same way."""

from __future__ import annotations

import pytest

from agent.healthy import host_and_port
from registry_core.domain.host_port import host_port, split_host_port

READ = [
    ("10.0.0.7:8034", "10.0.0.7", 8034),
    ("orders-api:1", "orders-api", 1),
    ("orders.example.com:65535", "orders.example.com", 65535),
    ("[2001:db8::7]:8034", "2001:db8::7", 8034),
    ("[fe80::1%eth0]:53", "fe80::1%eth0", 53),
    ("[::]:0", "::", 0),
    (":8888", "", 8888),
    ("[10.0.0.7]:80", "10.0.0.7", 80),
]
WITHOUT_A_PORT = [("10.0.0.7", "10.0.0.7"), ("orders", "orders"), ("[::1]", "::1"), ("", "")]
REFUSED = [
    ("2001:db8::7", "brackets"),
    ("2001:db8::7:8034", "brackets"),
    ("[::1", "are not closed"),
    ("[::1:80", "are not closed"),
    ("[::1]80", "only :port"),
    ("[::1]]:80", "only :port"),
    ("orders:", "no port"),
    ("[::1]:", "no port"),
    (":", "no port"),
    ("orders:http", "'http' is not a port"),
    ("orders:-1", "'-1' is not a port"),
    ("orders: 80", "' 80' is not a port"),
    ("orders:٨٠", "is not a port"),
    ("orders:65536", "'65536' is not a port"),
    ("orders:000080", "'000080' is not a port"),
]


@pytest.mark.parametrize(("text", "host", "port"), READ)
def test_a_host_and_a_port_are_read(text: str, host: str, port: int) -> None:
    assert split_host_port(text) == (host, port)


@pytest.mark.parametrize(("text", "host"), WITHOUT_A_PORT)
def test_a_host_may_come_without_a_port(text: str, host: str) -> None:
    assert split_host_port(text) == (host, None)


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_any_other_text_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        split_host_port(text)


@pytest.mark.parametrize(("host", "shown"), [("h", "h:80"), ("10.0.0.7", "10.0.0.7:80"), ("::1", "[::1]:80")])
def test_an_ipv6_address_is_written_in_brackets(host: str, shown: str) -> None:
    assert host_port(host, 80) == host_port(host, "80") == shown


@pytest.mark.parametrize(("text", "host", "port"), READ)
def test_the_health_check_reads_them_in_the_same_way(text: str, host: str, port: int) -> None:
    assert host_and_port(text) == (host, port)


@pytest.mark.parametrize("text", [*(text for text, _ in REFUSED), *(text for text, _ in WITHOUT_A_PORT)])
def test_the_health_check_accepts_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        host_and_port(text)
