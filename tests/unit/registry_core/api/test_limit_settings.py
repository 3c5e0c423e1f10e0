"""The settings of the limits: what they accept, and that each can be turned off."""

from __future__ import annotations

import pytest

from registry_core.api.limit_settings import LIMIT_PAUSE, LIMIT_SETTINGS, RequestRate, rate_limit
from registry_core.api.proxies import ForwardedHeader
from registry_core.errors import SettingsError
from registry_core.replica_settings import replica_settings


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("100/s", RequestRate(100, 1)),
        ("10/min", RequestRate(10, 60)),
        (" 5 / m ", RequestRate(5, 60)),
        ("1000/hour", RequestRate(1000, 3600)),
        ("off", None),
        ("0", None),
    ],
)
def test_a_limit_is_read_from_text(text: str, limit: RequestRate | None) -> None:
    assert rate_limit(text) == limit


@pytest.mark.parametrize("text", ["", "100", "0/s", "-1/s", "1/d", "1.5/s", "10000000/s"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(it is neither|a limit of nothing)"):
        rate_limit(text)


def test_a_limit_shows_as_it_is_written() -> None:
    assert [str(RequestRate(100, 1)), str(RequestRate(10, 60)), str(RequestRate(1, 3600))] == ["100/s", "10/min", "1/h"]


def test_every_rate_can_be_turned_off() -> None:
    rates = [one.name for one in LIMIT_SETTINGS if one.name.startswith("REGISTRY_LIMIT_") and one is not LIMIT_PAUSE]
    found = replica_settings(dict.fromkeys(rates, "off")).limits
    assert len(rates) == 7
    assert not any((found.register, found.lookup, found.deregister, found.status, found.failed_auth))
    assert not any((found.instance_heartbeats, found.instance_registrations))


def test_the_proxies_are_networks() -> None:
    given = {"REGISTRY_TRUSTED_PROXIES": "172.28.53.10, fd00:53::/64", "REGISTRY_FORWARDED_HEADER": "Forwarded"}
    found = replica_settings(given).limits
    assert found.trusted_proxies == ("172.28.53.10/32", "fd00:53::/64")
    assert found.forwarded_header is ForwardedHeader.FORWARDED
    with pytest.raises(SettingsError, match=r"REGISTRY_TRUSTED_PROXIES: .* is not a network"):
        replica_settings({"REGISTRY_TRUSTED_PROXIES": "nginx"})
