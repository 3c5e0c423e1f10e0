"""Which limit each endpoint counts in, what its requests are worth, and what the log says of proxies."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from registry_core.api.clients import CLIENT
from registry_core.api.endpoints import ENDPOINTS, Endpoint
from registry_core.api.limit_settings import LimitSettings, RequestRate
from registry_core.api.request_limits import (
    LIMIT_OF,
    MAX_UNBELIEVED,
    REPEATED,
    WORTH_OF,
    RequestLimits,
    limit_of,
    worth_of,
)
from registry_core.api.shedding import Worth
from registry_core.api.view import ReplicaView
from registry_core.domain.leases import LeaseTerms
from registry_core.errors import TooManyRequests
from tests.samples import FakeClock

SERVICES = next(one for one in ENDPOINTS if one.name == "services")


def limits(settings: LimitSettings | None = None) -> RequestLimits:
    clock = FakeClock()
    view = ReplicaView(clock, ttl_s=60.0, warming_s=0.0, store_age_s=lambda: 0.0)
    return RequestLimits(settings or LimitSettings(lookup=RequestRate(1, 60)), LeaseTerms(), view, clock)


def arrived(at: RequestLimits, peer: str, headers: Mapping[str, str] | None = None) -> web.Request:
    request = make_mocked_request("GET", "/services", headers=headers).clone(remote=peer)
    assert isinstance(request, web.Request)
    at.arrived(request)
    return request


async def refused(at: RequestLimits, peer: str, headers: Mapping[str, str] | None = None) -> web.Request:
    """Send lookups from `peer` until one is refused; return that one."""
    while True:
        request = arrived(at, peer, headers)
        try:
            at.check(request, SERVICES)
        except TooManyRequests as error:
            at.failed(request, None, error)
            return request


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_every_endpoint_that_costs_anything_has_a_limit(endpoint: Endpoint) -> None:
    if endpoint.name in ("live", "ready", "heartbeat"):
        assert limit_of(endpoint) is None
    else:
        assert limit_of(endpoint) is not None
    if endpoint.writes:
        assert worth_of(endpoint) is not None


def test_the_tables_name_only_what_exists() -> None:
    names = {endpoint.name for endpoint in ENDPOINTS}
    assert {*LIMIT_OF, *WORTH_OF} <= names


def test_departures_are_worth_most_and_lists_least() -> None:
    worths = {endpoint.name: worth_of(endpoint) for endpoint in ENDPOINTS}
    assert {name for name, worth in worths.items() if worth is Worth.LIST} == {
        "services",
        "catalog",
        "prometheus_targets",
        "watch",
    }
    assert worths["deregister"] is worths["deregister_instance"] is worths["set_status"] is Worth.DEPARTURE
    assert worths["service"] is worths["health"] is worths["live"] is None


async def test_the_first_refusal_is_noted_and_repeats_are_only_counted() -> None:
    known = limits()
    first = await refused(known, "203.0.113.7")
    assert not first.get(REPEATED)
    assert (await refused(known, "203.0.113.7")).get(REPEATED)
    assert not (await refused(known, "203.0.113.8")).get(REPEATED)
    assert known.refused["lookup"] == 3


@pytest.mark.parametrize("header", ["X-Forwarded-For", "forwarded"])
async def test_a_proxy_that_is_not_trusted_is_named_once_before_anybody_is_refused(header: str) -> None:
    known = limits()
    with capture_logs() as lines:
        arrived(known, "203.0.113.7")
        assert lines == [], "it does not forward"
        for number in range(10):
            arrived(known, "203.0.113.9", {header: f"10.0.0.{number}"})
    (line,) = lines
    assert (line["event"], line["peer"]) == ("proxy_not_trusted", "203.0.113.9")
    assert line["setting"] == "REGISTRY_TRUSTED_PROXIES"
    assert list(known.unbelieved) == ["203.0.113.9"]


async def test_anybody_can_pretend_to_forward_and_fills_neither_log_nor_memory() -> None:
    known = limits()
    with capture_logs() as lines:
        for number in range(100):
            arrived(known, f"203.0.113.{number}", {"X-Forwarded-For": "10.0.0.1"})
    assert len(lines) == len(known.unbelieved) == MAX_UNBELIEVED


async def test_what_comes_through_a_local_proxy_that_is_not_trusted_has_a_limit_all_the_same() -> None:
    """Loopback has none: the clients of a proxy on this machine would have none either."""
    known = limits()
    for peer in ("127.0.0.1", "::1"):
        local, passed_on = arrived(known, peer), arrived(known, peer, {"X-Forwarded-For": "203.0.113.7"})
        assert (local[CLIENT].limited_as, passed_on[CLIENT].limited_as) == ("", f"{peer} for others")
        assert passed_on[CLIENT].address == peer, "what it says is not believed"
