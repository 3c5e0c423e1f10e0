"""The credentials of writes, over real HTTP."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from tests.integration.replicas import READY, Api, serving
from tests.samples import FakeClock

SECRET = "a-long-random-word"
CLOSED = msgspec.structs.replace(READY, secrets=(SECRET, "the-next-one"))
GOOD = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/register", GOOD),
    ("POST", "/heartbeat", {"service_name": "ip_intel"}),
    ("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "passing"}),
    ("DELETE", "/deregister/ip_intel/10.0.0.7:8034", None),
    ("DELETE", "/deregister/ip_intel", None),
]


def key(service_name: str, secret: str = SECRET) -> dict[str, str]:
    return {"X-Registry-API-Key": hashlib.sha256(f"{service_name}{secret}".encode()).hexdigest()}


async def register(api: Api) -> None:
    answer = await api.call("POST", "/register", GOOD, headers={"X-Registry-Token": SECRET})
    assert answer.status == 201


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_write_without_a_credential_is_refused(method: str, path: str, body: Any) -> None:
    async with serving(CLOSED) as api:
        await register(api)
        for headers in ({}, {"X-Registry-Token": "wrong"}, {"X-Registry-Token": ""}, {"X-Registry-API-Key": "abc"}):
            answer = await api.call(method, path, body, headers=headers)
            assert (answer.status, answer.body["error"]) == (401, "Unauthorized")
            assert "WWW-Authenticate" in answer.headers
        assert len(api.replica.view.catalog) == 1


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_the_token_and_the_services_own_key_may_write(method: str, path: str, body: Any) -> None:
    async with serving(CLOSED) as api:
        for headers in (
            {"X-Registry-Token": SECRET},
            {"X-Registry-Token": "the-next-one"},
            key("ip_intel"),
            key("ip_intel", "the-next-one"),
            {"X-Registry-API-Key": key("ip_intel")["X-Registry-API-Key"].upper()},
        ):
            await register(api)
            assert (await api.call(method, path, body, headers=headers)).status in (200, 201)


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_key_may_write_only_its_own_service(method: str, path: str, body: Any) -> None:
    async with serving(CLOSED) as api:
        await register(api)
        answer = await api.call(method, path, body, headers=key("billing"))
        assert (answer.status, answer.body["error"]) == (403, "Forbidden")
        assert len(api.replica.view.catalog) == 1


async def test_a_key_does_not_renew_others_within_a_batch() -> None:
    async with serving(CLOSED) as api:
        await register(api)
        beats = {"instances": [{"service_name": "ip_intel"}, {"service_name": "billing"}]}
        assert (await api.call("POST", "/heartbeat", beats, headers=key("ip_intel"))).status == 403


async def test_lookups_need_no_credential() -> None:
    async with serving(CLOSED) as api:
        await register(api)
        for path in ("/services", "/services/ip_intel", "/catalog", "/health", "/metrics", "/openapi.json"):
            assert (await api.call("GET", path)).status == 200


async def test_a_credential_that_is_not_ascii_is_simply_wrong() -> None:
    async with serving(CLOSED) as api:
        answer = await api.call("POST", "/register", GOOD, headers={"X-Registry-Token": "\u00e9\u00e8"})
        assert answer.status == 401


# -- the effect of a key on other services


async def held_by_another_service(api: Api, status: str = "passing") -> str:
    """Let ip_intel hold the address that billing will ask for; return the catalogue's digest."""
    answer = await api.call("POST", "/register", {**GOOD, "status": status}, headers={"X-Registry-Token": SECRET})
    assert answer.status == 201
    return api.replica.view.catalog.digest


TAKING = {**GOOD, "service_name": "billing"}


@pytest.mark.parametrize("status", ["passing", "warning", "critical", "draining", "maintenance"])
async def test_a_key_removes_no_live_instance_of_another_service(status: str) -> None:
    """Otherwise the owner of one service's key could wait for a failed check and receive the other's requests."""
    async with serving(CLOSED) as api:
        before = await held_by_another_service(api, status)
        answer = await api.call("POST", "/register", TAKING, headers=key("billing"))
        assert (answer.status, answer.body["error"], answer.body["field"]) == (409, "Conflict", "port")
        assert api.replica.view.catalog.digest == before


async def test_the_shared_token_takes_over_a_critical_instances_address() -> None:
    async with serving(CLOSED) as api:
        await held_by_another_service(api, "critical")
        answer = await api.call("POST", "/register", TAKING, headers={"X-Registry-Token": SECRET})
        assert answer.status == 201
        assert (await api.call("GET", "/services")).body == ["billing"]


async def test_without_authentication_every_caller_does(api: Api) -> None:
    await api.register(status="critical")
    await api.register("billing")
    assert (await api.call("GET", "/services")).body == ["billing"]


async def test_a_key_takes_over_a_silent_instances_address() -> None:
    clock = FakeClock()
    async with serving(CLOSED, clock=clock) as api:
        await held_by_another_service(api)
        clock.pass_time(61)
        assert (await api.call("POST", "/register", TAKING, headers=key("billing"))).status == 201
        assert (await api.call("GET", "/services")).body == ["billing"]


async def test_a_key_takes_over_from_its_own_service() -> None:
    async with serving(CLOSED) as api:
        await held_by_another_service(api, "critical")
        answer = await api.call("POST", "/register", {**GOOD, "instance_id": "new"}, headers=key("ip_intel"))
        assert answer.status == 201
        assert [i.instance_id for i in api.replica.view.catalog] == ["new"]


async def test_the_shared_token_removes_a_squatter() -> None:
    async with serving(CLOSED) as api:
        squatting = {**GOOD, "service_name": "billing", "instance_id": "squatter"}
        assert (await api.call("POST", "/register", squatting, headers=key("billing"))).status == 201
        answer = await api.call("POST", "/register", GOOD, headers=key("ip_intel"))
        assert (answer.status, answer.body["message"]) == (
            409,
            "10.0.0.7:8034 is registered as instance 'squatter' of 'billing'",
        ), "it says which one to remove"
        removal = await api.call("DELETE", "/deregister/billing/squatter", headers={"X-Registry-Token": SECRET})
        assert removal.status == 200
        assert (await api.call("POST", "/register", GOOD, headers=key("ip_intel"))).status == 201
