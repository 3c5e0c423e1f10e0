"""What is read from /etc/resolv.conf."""

from __future__ import annotations

import pytest

from dns.resolv_conf import MAX_SERVERS, nameservers


def test_the_nameservers_are_read_in_order_and_each_once() -> None:
    text = "# made by hand\nsearch corp.example\nnameserver 10.0.0.2\nnameserver\t2001:db8::1\nnameserver 10.0.0.2\n"
    assert nameservers(text) == ("10.0.0.2", "2001:db8::1")


def test_a_scope_is_kept() -> None:
    assert nameservers("nameserver fe80::1%eth0\n") == ("fe80::1%eth0",)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nameserver",
        "nameserver resolver.example",
        "nameserver 10.0.0",
        ";nameserver 10.0.0.2",
        "#nameserver 10.0.0.2",
        " nameserver 10.0.0.2",
        "nameservers 10.0.0.2",
        "options timeout:1",
        "\0\0\0",
    ],
)
def test_a_line_that_is_no_nameserver_is_left_out(line: str) -> None:
    assert nameservers(f"{line}\nnameserver 10.0.0.9 # the last word\r\n") == ("10.0.0.9",)


def test_the_number_of_nameservers_is_bounded() -> None:
    text = "".join(f"nameserver 10.0.{n // 256}.{n % 256}\n" for n in range(10_000))
    assert len(nameservers(text)) == MAX_SERVERS
