"""What is read from /etc/hosts."""

from __future__ import annotations

import pytest

from dns.hosts_file import MAX_FOUND, hosts_addresses

HOSTS = """\
# made by hand: orders 10.9.9.9
127.0.0.1\tlocalhost
127.0.1.1 vm7.example vm7   # as Debian writes it
::1 localhost ip6-localhost
10.0.0.7 Orders orders.shop #billing
::ffff:10.0.0.8 orders
fe80::1%eth0 orders
10.0.0 orders
10.0.0.7 orders
10.0.0.9 reorders orders2 orders-1
"""


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("localhost", ("127.0.0.1", "::1")),
        ("VM7", ("127.0.1.1",)),
        ("orders", ("10.0.0.7", "10.0.0.8")),
        ("orders.shop", ("10.0.0.7",)),
        ("billing", ()),
        ("shop", ()),
        ("10.0.0.9", ()),
        ("", ()),
    ],
)
def test_a_name_has_the_addresses_of_all_lines_that_name_it(host: str, addresses: tuple[str, ...]) -> None:
    assert hosts_addresses(HOSTS, host) == addresses
    assert hosts_addresses(HOSTS.replace("\n", "\r\n"), host) == addresses


def test_what_is_found_is_bounded() -> None:
    text = "".join(f"10.0.{n // 256}.{n % 256} orders\n" for n in range(1000))
    assert len(hosts_addresses(text, "orders")) == MAX_FOUND
    assert hosts_addresses("", "orders") == ()
    assert hosts_addresses("10.0.0.7 orders", "orders") == ("10.0.0.7",)
