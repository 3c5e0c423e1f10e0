"""Registrations, heartbeats, statuses and removals over real HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry_core.domain.registration import Rules
from tests.integration.replicas import READY, Api, serving
from tests.samples import FakeClock


async def test_a_registration_is_found_at_once(api: Api) -> None:
    answer = await api.call(
        "POST",
        "/register",
        {
            "service_name": "ip_intel",
            "host": "10.0.0.7",
            "port": 8034,
            "version": "1.4.2",
            "tags": ["eu", "canary"],
            "weight": 5,
            "zone": "z1",
            "metadata": {"team": "osint"},
            "epoch": 7,
        },
    )
    assert answer.status == 201
    assert answer.body == {
        "status": "registered",
        "service_name": "ip_intel",
        "instance_id": "10.0.0.7:8034",
        "created": True,
        "epoch": 7,
        "ttl_seconds": 60.0,
        "heartbeat_interval_seconds": 30.0,
    }
    found = (await api.call("GET", "/services/ip-intel")).body
    assert found["endpoint"] == "http://10.0.0.7:8034"
    assert found["instances"][0]["tags"] == ["canary", "eu"]
    assert found["instances"][0]["addresses"] == ["10.0.0.7"]
    assert found["metadata"] == {"team": "osint"}
    assert found["ttl_remaining"] == 60


async def test_the_same_registration_again_is_not_created_again(api: Api) -> None:
    await api.register()
    digest = api.replica.view.catalog.digest
    assert (await api.register())["created"] is False
    assert api.replica.view.catalog.digest == digest


async def test_an_endpoint_replaces_host_and_port(api: Api) -> None:
    await api.call("POST", "/register", {"service_name": "secure_one", "endpoint": "https://10.0.0.9:8443"})
    found = (await api.call("GET", "/services/secure_one")).body
    assert (found["host"], found["port"], found["instances"][0]["protocol"]) == ("10.0.0.9", 8443, "https")


async def test_a_host_name_is_resolved_once_when_no_addresses_are_sent(api: Api) -> None:
    await api.register(host="localhost")
    addresses = (await api.call("GET", "/services/ip_intel")).body["instances"][0]["addresses"]
    assert "127.0.0.1" in addresses


async def test_a_host_that_does_not_resolve_is_registered_without_addresses(api: Api) -> None:
    await api.register(host="no-such-host.invalid")
    assert (await api.call("GET", "/services/ip_intel")).body["instances"][0]["addresses"] == []


@pytest.mark.parametrize(
    ("second", "field"),
    [
        ({"service_name": "billing", "host": "10.0.0.7", "port": 8034}, "port"),
        ({"service_name": "ip_intel", "instance_id": "other", "host": "10.0.0.7", "port": 8034}, "port"),
        ({"service_name": "ip-intel", "host": "10.0.0.8", "port": 8034}, "service_name"),
    ],
)
async def test_an_address_or_id_in_use_is_a_conflict(api: Api, second: dict[str, Any], field: str) -> None:
    await api.register()
    digest = api.replica.view.catalog.digest
    answer = await api.call("POST", "/register", second)
    assert (answer.status, answer.body["error"], answer.body["field"]) == (409, "Conflict", field)
    assert api.replica.view.catalog.digest == digest


async def test_the_address_of_an_overdue_instance_goes_to_the_newcomer() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        await api.register("ip_intel")
        clock.pass_time(61)
        await api.register("billing")
        assert (await api.call("GET", "/services")).body == ["billing"]


async def test_an_older_epoch_is_fenced_in_every_operation(api: Api) -> None:
    await api.register(epoch=5)
    one = {"service_name": "ip_intel", "instance_id": "10.0.0.7:8034", "epoch": 4}
    answers = [
        await api.call("POST", "/register", {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034, "epoch": 4}),
        await api.call("POST", "/heartbeat", one),
        await api.call("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "draining", "epoch": 4}),
        await api.call("DELETE", "/deregister/ip_intel/10.0.0.7:8034?epoch=4"),
        await api.call("DELETE", "/deregister/ip_intel?epoch=4"),
    ]
    assert [(a.status, a.body["error"]) for a in answers] == [(409, "Fenced")] * 5
    assert len(api.replica.view.catalog) == 1


async def test_a_heartbeat_renews_the_lease() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        await api.register()
        clock.pass_time(20)
        assert (await api.call("GET", "/services/ip_intel")).body["ttl_remaining"] == 40
        answer = await api.call("POST", "/heartbeat", {"service_name": "ip_intel"})
        assert (answer.status, answer.body["status"]) == (200, "renewed")
        assert answer.body["instances"] == [
            {"service_name": "ip_intel", "instance_id": "10.0.0.7:8034", "status": "renewed"}
        ]
        assert (await api.call("GET", "/services/ip_intel")).body["ttl_remaining"] == 60


async def test_the_rest_of_a_lease_does_not_jump_with_the_wall_clock() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        await api.register()
        clock.step_wall(3600)
        assert (await api.call("GET", "/services/ip_intel")).body["ttl_remaining"] == 60


async def test_a_heartbeat_of_an_unknown_instance_asks_for_a_registration(api: Api) -> None:
    answer = await api.call("POST", "/heartbeat", {"service_name": "ip_intel"})
    assert (answer.status, answer.body["error"]) == (404, "NotFound")
    await api.register()
    answer = await api.call("POST", "/heartbeat", {"service_name": "ip_intel", "instance_id": "other"})
    assert (answer.status, answer.body["field"]) == (404, "instance_id")


async def test_many_heartbeats_are_answered_one_by_one(api: Api) -> None:
    await api.register("ip_intel", epoch=2)
    await api.register("billing", port=8035)
    beats = [
        {"service_name": "billing", "instance_id": "10.0.0.7:8035"},
        {"service_name": "nobody"},
        {"service_name": "ip_intel", "epoch": 1},
    ]
    answer = await api.call("POST", "/heartbeat", {"instances": beats})
    assert answer.status == 200
    assert answer.body["status"] == "partial"
    assert [i["status"] for i in answer.body["instances"]] == ["renewed", "unknown", "fenced"]
    answer = await api.call("POST", "/heartbeat", {"instances": beats[:1]})
    assert answer.body["status"] == "renewed"


async def test_a_status_is_changed_and_shown(api: Api) -> None:
    await api.register()
    answer = await api.call("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "warning"})
    assert (answer.status, answer.body["status"]) == (200, "warning")
    answer = await api.call("PUT", "/status/ip_intel/other", {"status": "warning"})
    assert (answer.status, answer.body["error"]) == (404, "NotFound")


async def test_one_instance_is_deregistered(api: Api) -> None:
    await api.register(port=8034)
    await api.register(port=8035)
    answer = await api.call("DELETE", "/deregister/ip_intel/10.0.0.7:8034")
    assert (answer.status, answer.body["instances"]) == (200, ["10.0.0.7:8034"])
    assert [i.port for i in api.replica.view.catalog] == [8035]
    assert (await api.call("DELETE", "/deregister/ip_intel/10.0.0.7:8034")).status == 404


async def test_a_service_with_one_instance_is_deregistered_by_name(api: Api) -> None:
    await api.register(port=8034)
    await api.register(port=8035)
    answer = await api.call("DELETE", "/deregister/ip_intel")
    assert (answer.status, answer.body["error"]) == (409, "AmbiguousInstance")
    assert len(api.replica.view.catalog) == 2
    answer = await api.call("DELETE", "/deregister/ip_intel?all=true")
    assert (answer.status, sorted(answer.body["instances"])) == (200, ["10.0.0.7:8034", "10.0.0.7:8035"])
    answer = await api.call("DELETE", "/deregister/ip_intel")
    assert (answer.status, answer.body["error"]) == (404, "NotFound")


async def test_low_ports_are_accepted_if_the_setting_allows_them() -> None:
    async with serving(msgspec.structs.replace(READY, rules=Rules(min_port=1))) as api:
        await api.register(port=80)
        assert (await api.call("GET", "/services/ip_intel")).body["port"] == 80
