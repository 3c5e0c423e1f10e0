"""Which clients may query the agent."""

from __future__ import annotations

import pytest

from dns.access import AllowedNetworks


@pytest.mark.parametrize("host", ["127.0.0.1", "127.7.8.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_allowed(host: str) -> None:
    access = AllowedNetworks()
    assert access.admits(host)
    assert access.admits(host), "and once more"


@pytest.mark.parametrize("host", ["10.0.0.1", "::2", "::ffff:10.0.0.1", "fe80::1%eth0", "", "nonsense"])
def test_other_machines_are_refused_by_default(host: str) -> None:
    assert not AllowedNetworks().admits(host)


def test_a_named_network_is_allowed() -> None:
    access = AllowedNetworks(["172.16.0.0/12", "fd00::/8"])
    assert [access.admits(host) for host in ("172.18.0.2", "fd00::2", "127.0.0.1")] == [True, True, False]


def test_what_is_no_network_is_said_at_once() -> None:
    with pytest.raises(ValueError, match="everybody"):
        AllowedNetworks(["everybody"])


def test_the_cache_of_clients_is_bounded() -> None:
    access = AllowedNetworks()
    for number in range(10_000):
        access.admits(f"10.0.{number >> 8}.{number & 255}")
    assert len(access._admitted) <= 4096
    assert access.admits("127.0.0.1")
