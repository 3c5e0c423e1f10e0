"""A registry that refuses every write says so, does not claim to know everything, and expires nothing meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry_core.domain.refusals import REFUSED_FOR_S
from tests.integration.replicas import READY, Answer, Api, serving
from tests.samples import FakeClock, claim

SECRET = "a-long-random-word"
CLOSED = msgspec.structs.replace(READY, secrets=(SECRET,), warming_s=60.0)
GOOD = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}
RIGHT, WRONG = {"X-Registry-Token": SECRET}, {"X-Registry-Token": "not-the-secret"}
FROM_LIVING: list[tuple[str, str, Any]] = [
    ("POST", "/register", GOOD),
    ("POST", "/heartbeat", {"service_name": "ip_intel"}),
    ("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "passing"}),
]
FROM_OTHERS: list[tuple[str, str, Any]] = [
    ("DELETE", "/deregister/ip_intel", None),
    ("POST", "/guard/release", None),
    ("POST", "/restore", {}),
]


async def register(api: Api, headers: dict[str, str]) -> Answer:
    return await api.call("POST", "/register", GOOD, headers=headers)


async def state(api: Api) -> Any:
    return (await api.call("GET", "/live")).body["state"]


async def metric(api: Api, name: str) -> float:
    text = (await api.call("GET", "/metrics")).body.decode()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize(("method", "path", "body"), FROM_LIVING)
async def test_a_registry_that_only_refuses_says_so_and_is_not_ready(method: str, path: str, body: Any) -> None:
    clock = FakeClock()
    async with serving(CLOSED, clock=clock) as api:
        clock.pass_time(59)
        assert (await api.call(method, path, body, headers=WRONG)).status == 401
        clock.pass_time(2)
        assert await state(api) == "warming", "60 s have passed"
        answer = await api.call("GET", "/services/ip_intel")
        assert (answer.status, answer.body["error"]) == (503, "Warming")
        health = (await api.call("GET", "/health")).body
        assert (health["status"], health["state"]) == ("degraded", "warming")
        assert health["components"]["access"]["status"] == "refusing"
        assert "every write is refused (1 lately): the secret is wrong" in health["reasons"][0]
        clock.pass_time(5)
        assert await metric(api, "registry_refuses_all_writes ") == 1
        assert await metric(api, "registry_ready ") == 0
        assert await metric(api, 'registry_writes_refused_total{error="Unauthorized"}') == 1


async def test_once_the_secrets_agree_it_is_healthy_and_becomes_ready() -> None:
    clock = FakeClock()
    async with serving(CLOSED, clock=clock) as api:
        await register(api, WRONG)
        assert (await register(api, RIGHT)).status == 201
        health = (await api.call("GET", "/health")).body
        assert (health["reasons"], health["components"]["access"]["status"]) == ([], "ok")
        clock.pass_time(REFUSED_FOR_S + 1)
        assert await state(api) == "ready"


@pytest.mark.parametrize(("method", "path", "body"), FROM_OTHERS)
async def test_a_write_that_no_living_instance_sends_proves_nothing(method: str, path: str, body: Any) -> None:
    clock = FakeClock()
    async with serving(CLOSED, clock=clock) as api:
        clock.pass_time(61)
        assert (await api.call(method, path, body, headers=WRONG)).status == 401
        assert await state(api) == "ready"
        assert (await api.call("GET", "/health")).body["components"]["access"]["status"] == "ok"


async def test_a_valid_credential_counts_whatever_becomes_of_the_write() -> None:
    clock = FakeClock()
    async with serving(CLOSED, clock=clock) as api:
        await register(api, WRONG)
        beat = {"service_name": "ip_intel"}
        assert (await api.call("POST", "/heartbeat", beat, headers=RIGHT)).status == 404
        assert (await api.call("GET", "/health")).body["components"]["access"]["status"] == "ok"


async def test_a_lease_whose_heartbeats_are_refused_does_not_expire() -> None:
    clock = FakeClock()
    settings = msgspec.structs.replace(CLOSED, warming_s=0.0)
    async with serving(settings, clock=clock) as api:
        # The registry is started with another secret, on a store with registrations.
        await api.replica.store.register(claim())
        for second in range(600):
            if second % 30 == 0:
                beat = {"service_name": "ip_intel"}
                assert (await api.call("POST", "/heartbeat", beat, headers=WRONG)).status == 401
            clock.pass_time(1)
            await api.replica.sweeping.sweep()
        assert (await api.call("GET", "/services/ip_intel")).status == 200
        # When writes are accepted again, every lease gets the time back that it lost.
        beat = {"service_name": "billing"}
        await api.call("POST", "/heartbeat", beat, headers=RIGHT)
        await api.replica.sweeping.sweep()
        assert (await api.call("GET", "/services/ip_intel")).status == 200
        for _ in range(80):
            clock.pass_time(1)
            await api.replica.sweeping.sweep()
        assert (await api.call("GET", "/services/ip_intel")).status == 404, "its owner is gone"
