"""Whom a request comes from: what the nearest proxy says, and nothing that a client writes itself."""

from __future__ import annotations

import pytest

from registry_core.api.proxies import MAX_HOPS, ForwardedHeader, RequestOrigin, TrustedProxies

NGINX = "172.28.53.10"
BEHIND = TrustedProxies(["172.28.53.0/24", "fd00:53::/64"])
RFC_7239 = TrustedProxies(["172.28.53.0/24"], ForwardedHeader.FORWARDED)


def address(*lines: str, peer: str = NGINX, proxies: TrustedProxies = BEHIND) -> str:
    return proxies.origin(peer, lines).address


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        # The attack: a client that is no proxy claims to forward.
        ("203.0.113.7", ("10.9.9.9",), "203.0.113.7"),
        ("203.0.113.7", ("172.28.53.10",), "203.0.113.7"),
        # The same through nginx, which appends whom it was asked by.
        (NGINX, ("10.9.9.9, 203.0.113.7",), "203.0.113.7"),
        (NGINX, ("127.0.0.1, 203.0.113.7",), "203.0.113.7"),
        (NGINX, ("172.28.53.11, 172.28.53.12, 203.0.113.7",), "203.0.113.7"),
        # Lines are one list, in order.
        (NGINX, ("10.9.9.9", "203.0.113.7"), "203.0.113.7"),
        (NGINX, ("203.0.113.7", "172.28.53.11"), "203.0.113.7"),
        # Two proxies in a row.
        (NGINX, ("203.0.113.7, 172.28.53.11",), "203.0.113.7"),
        # Forms that proxies write.
        (NGINX, ("203.0.113.7:4711",), "203.0.113.7"),
        (NGINX, ("[2001:db8::7]:4711",), "2001:db8::7"),
        (NGINX, ("[2001:db8::7]",), "2001:db8::7"),
        (NGINX, ("2001:DB8:0::7",), "2001:db8::7"),
        (NGINX, ('"203.0.113.7"',), "203.0.113.7"),
        (NGINX, ("::ffff:203.0.113.7",), "203.0.113.7"),
        (NGINX, ("fe80::1%eth0",), "fe80::1"),
        ("::ffff:172.28.53.10", ("203.0.113.7",), "203.0.113.7"),
        ("fd00:53::9", ("203.0.113.7",), "203.0.113.7"),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_trusted_proxy(
    peer: str, lines: tuple[str, ...], client: str
) -> None:
    assert address(*lines, peer=peer) == client


@pytest.mark.parametrize(
    "hop", ["unknown", "_hidden", "", "203.0.113.999", "evil.example", "x" * 5000, "1.2.3.4:99999"]
)
def test_what_is_no_address_ends_the_walk_at_the_proxy_that_said_it(hop: str) -> None:
    """Else the client would choose who it is with what it wrote further left."""
    origin = BEHIND.origin(NGINX, [f"203.0.113.7, {hop}"])
    assert origin.address == NGINX
    assert origin.limited_as == f"{NGINX} for unknown"


def test_a_proxy_and_its_own_requests_have_no_limit() -> None:
    assert BEHIND.origin(NGINX, []) == RequestOrigin(NGINX, "")
    assert BEHIND.origin(NGINX, ["172.28.53.11"]) == RequestOrigin("172.28.53.11", "")


def test_loopback_has_no_limit_and_what_a_proxy_calls_loopback_has_one() -> None:
    assert BEHIND.origin("127.0.0.1", ["203.0.113.7"]) == RequestOrigin("127.0.0.1", "")
    assert BEHIND.origin("::1", []) == RequestOrigin("::1", "")
    assert BEHIND.origin(NGINX, ["127.0.0.1"]) == RequestOrigin("127.0.0.1", "127.0.0.1")


def test_a_local_proxy_is_trusted_only_when_it_is_configured() -> None:
    local = TrustedProxies(["127.0.0.1/32"])
    assert local.origin("127.0.0.1", ["203.0.113.7"]) == RequestOrigin("203.0.113.7", "203.0.113.7")


def test_an_endless_list_of_proxies_is_read_up_to_a_bound() -> None:
    many = ", ".join(["203.0.113.7", *["172.28.53.11"] * 1000])
    assert address(many) == "172.28.53.11"
    assert address(", ".join(["203.0.113.7", *["172.28.53.11"] * (MAX_HOPS - 1)])) == "203.0.113.7"


def test_clients_of_ipv6_are_limited_by_their_network() -> None:
    assert BEHIND.origin("2001:db8:1:2:3::4", []).limited_as == "2001:db8:1:2::/64"
    assert BEHIND.origin("2001:db8:1:2:ffff::9", []).limited_as == "2001:db8:1:2::/64"
    assert BEHIND.origin("::ffff:203.0.113.7", []).limited_as == "203.0.113.7"


@pytest.mark.parametrize(
    ("line", "client"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ("For=203.0.113.7;proto=https;by=172.28.53.10", "203.0.113.7"),
        ('proto=http; for="[2001:db8::7]:4711"', "2001:db8::7"),
        ("for=10.9.9.9, for=203.0.113.7", "203.0.113.7"),
        ('for="10.9.9.9, for=203.0.113.7', "203.0.113.7"),
        ("for=unknown", NGINX),
        ("for=_secret", NGINX),
        ("proto=https", NGINX),
    ],
)
def test_the_header_of_rfc_7239_is_read_where_it_is_configured(line: str, client: str) -> None:
    assert address(line, proxies=RFC_7239) == client


def test_a_misspelt_network_is_refused() -> None:
    with pytest.raises(ValueError, match="not a network"):
        TrustedProxies(["nginx"])
