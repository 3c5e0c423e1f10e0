"""Who an agent's instances are, over restarts: the same ids, whatever became of their addresses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from agent.identity import Identity, identified
from agent.settings import ServiceSpec, read_agent_settings


def specs(*services: tuple[str, str, int], own_id: str = "") -> tuple[ServiceSpec, ...]:
    found: list[ServiceSpec] = []
    for name, host, port in services:
        environment = {"SERVICE_NAME": name, "SERVICE_HOST": host, "SERVICE_PORT": str(port)}
        found.extend(read_agent_settings({**environment, "SERVICE_INSTANCE_ID": own_id}).services)
    return tuple(found)


def draws() -> Iterator[str]:
    return (f"{number:08x}" for number in count(1))


def ids(services: tuple[ServiceSpec, ...], kept: Identity) -> tuple[list[str], Identity]:
    found, identity = identified(services, kept, epoch=100, draws=draws())
    return [spec.claim.instance_id for spec in found], identity


def test_an_id_is_drawn_once_and_kept_whatever_the_address() -> None:
    first, kept = ids(specs(("ip_intel", "10.0.0.7", 8034)), Identity())
    assert first == ["ip-intel-00000001"]
    again, _ = ids(specs(("ip_intel", "10.9.9.9", 8034)), kept)
    assert again == first


def test_an_id_that_is_configured_stays_and_is_not_kept() -> None:
    found, kept = ids(specs(("ip_intel", "10.0.0.7", 8034), own_id="mine"), Identity())
    assert found == ["mine"]
    assert kept.instance_ids == {}


def test_the_same_service_on_two_hosts_is_two_instances() -> None:
    two = specs(("ip_intel", "10.0.0.7", 8034), ("ip_intel", "10.0.0.8", 8034), ("geo", "10.0.0.8", 8035))
    found, kept = ids(two, Identity())
    assert found == ["ip-intel-00000001", "ip-intel-00000002", "geo-00000003"]
    assert ids(two, kept)[0] == found


def test_a_host_with_a_name_is_the_same_instance_also_where_nothing_was_kept() -> None:
    found, kept = ids(specs(("ip_intel", "intel-container", 8034)), Identity())
    assert found == ["intel-container:8034"]
    assert ids(specs(("ip_intel", "intel-container", 8034)), Identity())[0] == found, "the container was made anew"
    drawn = Identity(instance_ids={"ip_intel:8034": "ip-intel-00000007"})
    assert ids(specs(("ip_intel", "intel-container", 8034)), drawn)[0] == ["ip-intel-00000007"]
    assert kept.instance_ids == {"ip_intel:8034": "intel-container:8034"}


def test_what_is_configured_no_longer_is_forgotten() -> None:
    _, kept = ids(specs(("ip_intel", "10.0.0.7", 8034), ("geo", "10.0.0.8", 8035)), Identity())
    _, kept = ids(specs(("geo", "10.0.0.8", 8035)), kept)
    assert list(kept.instance_ids) == ["geo:8035"]


def test_an_epoch_is_newer_than_the_last_also_when_the_clock_was_set_back() -> None:
    assert identified((), Identity(epoch=50), epoch=100, draws=draws())[1].epoch == 100
    assert identified((), Identity(epoch=5000), epoch=100, draws=draws())[1].epoch == 5001
