"""The mass-expiry guard as a client, an operator and a supervisor see it, over real HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from registry_core.domain.guard import GuardPhase
from registry_core.domain.records import InstanceKey
from registry_core.telemetry.guard_log import GuardLog
from tests.integration.registry_core.api.test_auth import CLOSED, SECRET, key
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually
from tests.samples import FakeClock, claim

DYING = range(8001, 8006)
LIVING = range(9001, 9006)


async def silence(api: Api, clock: FakeClock) -> None:
    """Let half of a small fleet be silent for longer than their leases."""
    for port in DYING:
        await api.replica.store.register(claim("dying", port=port))
    for port in LIVING:
        await api.replica.store.register(claim("living", port=port))
    for second in range(1, 81):
        clock.pass_time(1)
        if second % 30 == 0:
            for port in LIVING:
                await api.replica.store.register(claim("living", port=port))
        await api.replica.store.sweep()


async def metric(api: Api, name: str) -> float:
    text = (await api.call("GET", "/metrics")).body.decode()
    values = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
    return values[name]


async def test_a_clear_guard_is_reported_as_clear() -> None:
    async with serving() as api:
        answer = await api.call("GET", "/guard")
        assert answer.status == 200
        assert (answer.body["phase"], answer.body["suspects"]) == ("clear", 0)
        assert [(shard["shard"], shard["phase"]) for shard in answer.body["shards"]] == [("memory", "clear")]
        released = await api.call("POST", "/guard/release")
        assert (released.status, released.body["released"]) == (200, [])


async def test_suspects_are_served_and_marked() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        await silence(api, clock)
        found = (await api.call("GET", "/services/dying")).body["instances"]
        assert [instance["suspect"] for instance in found] == [True] * 5
        assert [instance["ttl_remaining"] for instance in found] == [0] * 5
        found = (await api.call("GET", "/services/living")).body["instances"]
        assert [instance["suspect"] for instance in found] == [False] * 5
        catalog = (await api.call("GET", "/catalog")).body["instances"]
        assert sum(instance["suspect"] for instance in catalog) == 5


async def test_the_guard_shows_in_health_metric_and_log() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        assert await metric(api, "registry_guarded_shards") == 0
        await silence(api, clock)
        health = api.replica.health.view()
        assert health.status in ("degraded", "unhealthy")
        (shard,) = health.components.guard.shards
        assert shard.phase is GuardPhase.HOLDING
        assert shard.reason == (
            "too many leases ran out at once: 5 of 10 instances are kept as suspect until they are heard of or released"
        )
        assert shard.releases_in_seconds is not None
        assert 290 <= shard.releases_in_seconds <= 300
        assert (await api.call("GET", "/ready")).status == 200
        assert await metric(api, "registry_guarded_shards") == 1
        assert await metric(api, "registry_suspect_instances") == 5


async def test_each_transition_of_the_guard_is_logged_once() -> None:
    clock = FakeClock()
    said = GuardLog()
    async with serving(clock=clock) as api:
        with structlog.testing.capture_logs() as lines:
            said.see(api.replica.store.guards())
            await silence(api, clock)
            for _ in range(3):
                said.see(api.replica.store.guards())
            await api.call("POST", "/guard/release")
            for _ in range(3):
                said.see(api.replica.store.guards())
            for port in DYING:
                await api.replica.store.register(claim("dying", port=port))
            await api.replica.store.sweep()
            said.see(api.replica.store.guards())
    told = [line for line in lines if line["event"].startswith("guard")]
    assert [(line["event"], line["log_level"]) for line in told] == [
        ("guard holds: too many leases ran out at once", "warning"),
        ("guard released by an operator", "warning"),
        ("guard lets go", "warning"),
        ("guard is clear", "info"),
    ]
    assert (told[0]["suspects"], told[0]["instances"], told[0]["shard"]) == (5, 10, "memory")


async def test_the_replica_logs_the_result_of_its_sweep() -> None:
    clock = FakeClock()
    fast = msgspec.structs.replace(READY.terms, sweep_every_s=0.02)
    with structlog.testing.capture_logs() as lines:
        async with serving(msgspec.structs.replace(READY, terms=fast), clock=clock) as api:
            await silence(api, clock)
            await eventually(lambda: any(line["event"].startswith("guard holds") for line in lines), "it was logged")


async def test_after_a_release_the_suspects_go_a_few_at_a_time() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        await silence(api, clock)
        answer = await api.call("POST", "/guard/release?shard=memory")
        assert answer.status == 200
        assert answer.body["released"] == ["memory"]
        assert answer.body["guard"]["phase"] == "releasing"
        assert answer.body["guard"]["shards"][0]["releases_in_seconds"] is None
        assert answer.body["guard"]["shards"][0]["reason"] == (
            "released: 5 of 10 instances are suspect, and 3 a minute go, in random order"
        )
        clock.pass_time(1)
        assert len((await api.replica.store.sweep()).expired) == 1
        assert len((await api.call("GET", "/services/dying")).body["instances"]) == 4


async def test_a_shard_that_does_not_exist_is_named() -> None:
    async with serving() as api:
        answer = await api.call("POST", "/guard/release?shard=nowhere")
        assert (answer.status, answer.body["error"], answer.body["field"]) == (404, "NotFound", "shard")
        assert answer.body["provided"] == "nowhere"


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({}, 401, "Unauthorized"),
        ({"X-Registry-Token": "wrong"}, 401, "Unauthorized"),
        (key("dying"), 403, "Forbidden"),
        ({"X-Registry-Token": SECRET}, 200, None),
    ],
)
async def test_a_release_requires_the_shared_token(headers: dict[str, str], status: int, error: str | None) -> None:
    clock = FakeClock()
    async with serving(CLOSED, clock=clock) as api:
        await silence(api, clock)
        answer = await api.call("POST", "/guard/release", headers=headers)
        assert (answer.status, answer.body.get("error")) == (status, error)
        phase = (await api.call("GET", "/guard")).body["phase"]
        assert phase == ("releasing" if status == 200 else "holding")


async def test_a_watch_shows_suspects_and_their_recovery() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        async with api.session.get(f"{api.url}/watch") as stream:
            await stream.content.readline()
            await silence(api, clock)
            await api.call("POST", "/heartbeat", {"service_name": "dying", "instance_id": "10.0.0.7:8003"})
            told: list[tuple[int, bool]] = []
            async for raw in stream.content:
                line: Any = msgspec.json.decode(raw)
                if line["type"] == "registered" and line["instance"]["service_name"] == "dying":
                    told.append((line["instance"]["port"], line["instance"]["suspect"]))
                if len(told) == 11:
                    break
        assert told == [*((p, False) for p in DYING), *((p, True) for p in DYING), (8003, False)]
        held = api.replica.view.catalog.get(InstanceKey("dying", "10.0.0.7:8003"))
        assert held is not None
        assert not held.suspect
