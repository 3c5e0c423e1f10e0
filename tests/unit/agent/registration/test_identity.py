"""The identity of an agent's instances across restarts: the same ids, whatever their addresses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from agent.registration.identity import (
    AgentIdentity,
    StartTime,
    corrected_epoch,
    epoch_of,
    identified,
    succeeding_epoch,
)
from agent.settings.settings import ServiceSpec, read_agent_settings


def specs(*services: tuple[str, str, int], own_id: str = "") -> tuple[ServiceSpec, ...]:
    found: list[ServiceSpec] = []
    for name, host, port in services:
        environment = {"SERVICE_NAME": name, "SERVICE_HOST": host, "SERVICE_PORT": str(port)}
        found.extend(read_agent_settings({**environment, "SERVICE_INSTANCE_ID": own_id}).services)
    return tuple(found)


def draws() -> Iterator[str]:
    return (f"{number:08x}" for number in count(1))


def ids(services: tuple[ServiceSpec, ...], kept: AgentIdentity) -> tuple[list[str], AgentIdentity]:
    found, identity = identified(services, kept, draws=draws())
    return [spec.claim.instance_id for spec in found], identity


def test_an_id_is_drawn_once_and_kept_whatever_the_address() -> None:
    first, kept = ids(specs(("ip_intel", "10.0.0.7", 8034)), AgentIdentity())
    assert first == ["ip-intel-00000001"]
    again, _ = ids(specs(("ip_intel", "10.9.9.9", 8034)), kept)
    assert again == first


def test_a_configured_id_is_used_and_not_stored() -> None:
    found, kept = ids(specs(("ip_intel", "10.0.0.7", 8034), own_id="mine"), AgentIdentity())
    assert found == ["mine"]
    assert kept.instance_ids == {}


def test_the_same_service_on_two_hosts_is_two_instances() -> None:
    two = specs(("ip_intel", "10.0.0.7", 8034), ("ip_intel", "10.0.0.8", 8034), ("geo", "10.0.0.8", 8035))
    found, kept = ids(two, AgentIdentity())
    assert found == ["ip-intel-00000001", "ip-intel-00000002", "geo-00000003"]
    assert ids(two, kept)[0] == found


def both(host: str) -> tuple[ServiceSpec, ...]:
    """Return a service over TCP, and the same one over UDP."""
    table = {"SERVICE_NAME": "dns", "SERVICE_HOST": host, "SERVICE_PORT": "8053", "AGENT_CHECK": "none"}
    return tuple(
        spec
        for protocol in ("tcp", "udp")
        for spec in read_agent_settings({**table, "SERVICE_PROTOCOL": protocol}).services
    )


def test_a_service_over_tcp_and_over_udp_is_two_instances() -> None:
    assert ids(both("a-container"), AgentIdentity())[0] == ["a-container:8053", "a-container:8053-udp"]
    found, kept = ids(both("10.0.0.7"), AgentIdentity())
    assert found == ["dns-00000001", "dns-00000002"]
    assert ids(both("10.0.0.7")[::-1], kept)[0] == found[::-1], "in any order"


def test_a_udp_service_keeps_the_id_of_an_earlier_release() -> None:
    kept = AgentIdentity(instance_ids={"dns:8053": "dns-00000007"})
    tcp, udp = both("10.0.0.7")
    found, then = ids((udp,), kept)
    assert (found, then.instance_ids) == (["dns-00000007"], {"dns:8053/udp": "dns-00000007"})
    assert ids((tcp, udp), kept)[0] == ["dns-00000007", "dns-00000001"], "it was that of the other one"


def test_a_host_with_a_name_is_the_same_instance_also_where_nothing_was_kept() -> None:
    found, kept = ids(specs(("ip_intel", "intel-container", 8034)), AgentIdentity())
    assert found == ["intel-container:8034"]
    assert ids(specs(("ip_intel", "intel-container", 8034)), AgentIdentity())[0] == found, "the container was recreated"
    drawn = AgentIdentity(instance_ids={"ip_intel:8034": "ip-intel-00000007"})
    assert ids(specs(("ip_intel", "intel-container", 8034)), drawn)[0] == ["ip-intel-00000007"]
    assert kept.instance_ids == {"ip_intel:8034": "intel-container:8034"}


def test_a_removed_service_is_forgotten() -> None:
    _, kept = ids(specs(("ip_intel", "10.0.0.7", 8034), ("geo", "10.0.0.8", 8035)), AgentIdentity())
    _, kept = ids(specs(("geo", "10.0.0.8", 8035)), kept)
    assert list(kept.instance_ids) == ["geo:8035"]


def test_the_last_claims_are_kept_until_the_next_ones() -> None:
    assert identified((), AgentIdentity(epoch=5000), draws=draws())[1].epoch == 5000


def test_an_epoch_is_the_start_by_the_agents_own_clock_when_nothing_else_is_known() -> None:
    assert epoch_of(StartTime(wall=1000.25, monotonic=50.0), None, 90.0) == 1_000_250


@pytest.mark.parametrize("off_s", [-1.9, 0.0, 1.9])
def test_a_correct_own_clock_is_preferred_to_the_registrys(off_s: float) -> None:
    start = StartTime(wall=1000.25 + off_s, monotonic=50.0)
    assert epoch_of(start, 1040.0, 89.75) == int((1000.25 + off_s) * 1000)


@pytest.mark.parametrize("off_s", [-3600.0, -2.5, 2.5, 3600.0])
def test_a_wrong_own_clock_is_replaced_by_the_registrys(off_s: float) -> None:
    start = StartTime(wall=1000.25 + off_s, monotonic=50.0)
    assert epoch_of(start, 1040.0, 89.75) == 1_000_250


@pytest.mark.parametrize("registry_time", [None, 1040.0])
def test_an_epoch_exceeds_the_last_one_whatever_the_clocks_say(registry_time: float | None) -> None:
    assert epoch_of(StartTime(1000.0, 50.0, least_epoch=7_000_001), registry_time, 90.0) == 7_000_001
    assert epoch_of(StartTime(1000.0, 50.0, least_epoch=51), registry_time, 90.0) == 1_000_000


def test_an_epoch_is_corrected_to_the_registrys_time_if_that_is_newer_than_the_owners() -> None:
    behind = StartTime(wall=-2600.0, monotonic=50.0)
    assert corrected_epoch(behind, 1040.0, 90.0, newer=999_999) == 1_000_000
    assert corrected_epoch(behind, 1040.0, 90.0, newer=1_000_000) is None, "an equal epoch is not newer"
    assert corrected_epoch(behind, 1040.0, 90.0, newer=9_000_000) is None, "an epoch from the future is exceeded too"
    assert corrected_epoch(behind, None, 90.0, newer=5) is None


def test_a_clock_from_before_the_epoch_of_clocks_makes_no_negative_number() -> None:
    assert epoch_of(StartTime(wall=-5.0, monotonic=0.0), None, 0.0) == 1


def test_the_successor_of_an_owner_that_left_is_newer_and_older_than_that_ones_next_life() -> None:
    left = 1_764_000_000_000
    for own in (1_763_999_000_123, 1_763_999_000_124):
        assert left < succeeding_epoch(own, left) <= left + 1000
    assert succeeding_epoch(123, left) != succeeding_epoch(124, left), "of two that try at once, one is newer"
