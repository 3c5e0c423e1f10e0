"""Lookups, the catalogue, and a replica's report about itself, over real HTTP."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from registry_core.domain.selection import WhenNonePass
from registry_core.store.memory import MemoryStore
from registry_core.telemetry.logs import trace_id
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually
from tests.samples import FakeClock, shard_report

UNREADABLE = shard_report("b", set_aside=1)


async def test_the_names_are_an_array_of_strings(api: Api) -> None:
    assert (await api.call("GET", "/services")).body == []
    await api.register("osint-service")
    await api.register("ip_intel", port=8035)
    await api.register("ip_intel", port=8036)
    assert (await api.call("GET", "/services")).body == ["ip_intel", "osint-service"]


async def test_all_filters_must_match(api: Api) -> None:
    await api.register(port=8001, version="1.4.2", tags=["canary"], zone="z1")
    await api.register(port=8002, version="1.4.3", tags=["blue"], zone="z1", status="critical")
    await api.register(port=8003, version="2.0.0", tags=["canary"], zone="z2")

    async def ports(query: str) -> list[int]:
        answer = await api.call("GET", f"/services/ip_intel?{query}")
        assert answer.status == 200, answer.body
        return sorted(i["port"] for i in answer.body["instances"])

    assert await ports("") == [8001, 8003]
    assert await ports("tag=canary") == [8001, 8003]
    assert await ports("tag=canary&zone=z2") == [8003]
    assert await ports("version=1.4") == [8001]
    assert await ports("version=2.0.0") == [8003]
    assert await ports("status=critical") == [8002]


async def test_a_known_service_without_a_match_differs_from_an_unknown_one(api: Api) -> None:
    await api.register()
    nobody = await api.call("GET", "/services/nobody")
    assert (nobody.status, nobody.body["error"]) == (404, "NotFound")
    assert "no service" in nobody.body["message"]
    filtered = await api.call("GET", "/services/ip_intel?tag=canary")
    assert (filtered.status, filtered.body["error"]) == (404, "NotFound")
    assert "is registered" in filtered.body["message"]
    assert "filters" in filtered.body["message"]


async def test_a_service_in_maintenance_is_not_returned(api: Api) -> None:
    await api.register(status="maintenance")
    answer = await api.call("GET", "/services/ip_intel")
    assert answer.status == 404
    assert "maintenance" in answer.body["message"]


@pytest.mark.parametrize(("rule", "status"), [(WhenNonePass.ALL, 200), (WhenNonePass.NONE, 404)])
async def test_the_answer_for_a_failing_service_is_a_setting(rule: WhenNonePass, status: int) -> None:
    async with serving(msgspec.structs.replace(READY, when_none_pass=rule)) as api:
        await api.register(status="critical")
        assert (await api.call("GET", "/services/ip_intel")).status == status


async def test_instances_in_the_replicas_zone_come_first_and_are_picked(api: Api) -> None:
    async with serving(msgspec.structs.replace(READY, zone="z2")) as near:
        await near.register(port=8001, zone="z1", weight=100)
        await near.register(port=8002, zone="z2", weight=1)
        body = (await near.call("GET", "/services/ip_intel")).body
        assert [i["port"] for i in body["instances"]] == [8002, 8001]
        assert body["port"] == 8002


async def test_a_warming_replica_does_not_report_a_name_as_missing() -> None:
    clock = FakeClock()
    async with serving(msgspec.structs.replace(READY, warming_s=60.0), clock=clock) as api:
        await api.register("billing")
        answer = await api.call("GET", "/services/ip_intel")
        assert (answer.status, answer.body["error"]) == (503, "Warming")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await api.call("GET", "/services/billing?tag=x")).status == 503
        assert (await api.call("GET", "/services/billing")).status == 200
        assert (await api.call("POST", "/heartbeat", {"service_name": "ip_intel"})).status == 404
        assert (await api.call("DELETE", "/deregister/ip_intel")).status == 404
        assert (await api.call("GET", "/ready")).body == {"status": "ready", "state": "warming"}
        clock.pass_time(60)
        assert (await api.call("GET", "/services/ip_intel")).status == 404
        assert (await api.call("GET", "/ready")).body == {"status": "ready", "state": "ready"}


@pytest.mark.parametrize("path", ["/services", "/catalog"])
async def test_a_warming_replica_that_knows_nothing_does_not_say_that_there_is_nothing(path: str) -> None:
    clock = FakeClock()
    async with serving(msgspec.structs.replace(READY, warming_s=60.0), clock=clock) as api:
        clock.pass_time(45)
        for headers in ({}, {"If-None-Match": "*"}):
            answer = await api.call("GET", path, headers=headers)
            assert (answer.status, answer.body["error"], answer.headers["Retry-After"]) == (503, "Warming", "15")
            assert "does not know yet which services exist" in answer.body["message"]
        clock.pass_time(15)
        answer = await api.call("GET", path)
        assert answer.status == 200
        assert "X-Cache" not in answer.headers
        assert answer.body == [] or answer.body["instances"] == []


async def test_a_warming_replica_says_that_there_may_be_more_than_it_knows() -> None:
    clock = FakeClock()
    async with serving(msgspec.structs.replace(READY, warming_s=60.0), clock=clock) as api:
        await api.register("billing")
        paths = ("/services", "/services/billing", "/catalog")
        for path in paths:
            answer = await api.call("GET", path)
            assert (answer.status, answer.headers["X-Cache"]) == (200, "partial"), path
        assert "X-Cache" not in (await api.call("GET", "/guard")).headers
        clock.pass_time(60)
        for path in paths:
            assert "X-Cache" not in (await api.call("GET", path)).headers


async def test_a_list_of_a_store_that_cannot_be_read_whole_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "shards", lambda _: (UNREADABLE,))
    for path in ("/services", "/catalog"):
        answer = await api.call("GET", path)
        assert (answer.status, answer.body["error"]) == (503, "StoreUnavailable")
        assert "shard 'b' cannot be read whole" in answer.body["message"]
    await api.register("billing")
    for path, headers in (("/services", "partial"), ("/catalog", "partial"), ("/services/billing", None)):
        answer = await api.call("GET", path)
        assert (answer.status, answer.headers.get("X-Cache")) == (200, headers), path


async def test_the_catalogue_has_everything_and_a_cursor_for_the_watch(api: Api) -> None:
    for port in range(8001, 8001 + 600):
        await api.register(port=port)
    answer = await api.call("GET", "/catalog")
    assert len(answer.body["instances"]) == 600
    assert {i["port"] for i in answer.body["instances"]} == set(range(8001, 8601))
    assert answer.body["digest"] == api.replica.view.catalog.digest
    assert answer.body["state"] == "ready"
    async with api.session.get(f"{api.url}/watch", params={"cursor": answer.body["cursor"]}) as stream:
        line = msgspec.json.decode(await asyncio.wait_for(stream.content.readline(), 10))
    assert (line["type"], line["digest"]) == ("sync", answer.body["digest"])


async def test_an_unchanged_catalogue_is_not_sent_again(api: Api) -> None:
    await api.register()
    first = await api.call("GET", "/catalog")
    tag = first.headers["ETag"]
    again = await api.call("GET", "/catalog", headers={"If-None-Match": tag})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    await api.call("POST", "/heartbeat", {"service_name": "ip_intel"})
    assert (await api.call("GET", "/catalog", headers={"If-None-Match": f'"other", {tag}'})).status == 304
    assert (await api.call("GET", "/catalog", headers={"If-None-Match": "*"})).status == 304
    await api.register(port=8035)
    assert (await api.call("GET", "/catalog", headers={"If-None-Match": tag})).status == 200


async def test_health_shows_only_measured_values(api: Api) -> None:
    await api.register()
    await eventually(lambda: api.replica.health.view().components.system.cpu_percent is not None, "a sample was taken")
    answer = await api.call("GET", "/health")
    body = answer.body
    assert answer.status == (503 if body["status"] == "unhealthy" else 200)
    assert (body["state"], body["active_services"], body["instances"]) == ("ready", 1, 1)
    assert body["uptime_seconds"] >= 0
    assert body["timestamp"].endswith("+00:00")
    components = body["components"]
    assert set(components) == {"store", "guard", "cache", "system", "watch", "access", "audit", "background"}
    assert (components["store"]["kind"], components["store"]["status"]) == ("memory", "ok")
    assert (components["cache"]["size"], components["cache"]["services"]) == (1, 1)
    assert components["watch"] == {"watchers": 0}
    background = {one["task"]: (one["restarts"], one["down"]) for one in components["background"]}
    assert background == dict.fromkeys(("standstill", "sync", "sample", "authority", "sweep"), (0, False))
    assert components["system"]["tasks"] >= 3
    assert 0 < components["system"]["memory_percent"] <= 100


async def test_a_replica_that_cannot_sweep_is_degraded() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        clock.pass_time(11)
        health = api.replica.health.view()
        assert health.components.store.status == "failing"
        assert health.status in ("degraded", "unhealthy")
        assert (await api.call("GET", "/ready")).status == 200


async def test_live_and_ready_answer_get_and_head(api: Api) -> None:
    for path in ("/live", "/ready"):
        assert (await api.call("GET", path)).status == 200
        assert (await api.call("HEAD", path)).status == 200


async def test_the_metrics_count_operations_requests_and_expiries() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        await api.register()
        await api.call("POST", "/register", {"service_name": "ip-intel", "host": "h", "port": 8034})
        await api.call("GET", "/services/ip_intel")
        await api.call("GET", "/services/nobody")
        await api.call("GET", "/made/up/path")
        await api.call("PATCH", "/services")
        await eventually(
            lambda: api.replica.health.view().components.system.cpu_percent is not None, "a sample was taken"
        )
        for _ in range(80):
            clock.pass_time(1)
            await api.replica.store.sweep()
        answer = await api.call("GET", "/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        values = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }

    def value(name: str, **labels: str) -> float | None:
        return values.get((name, tuple(sorted(labels.items()))))

    assert value("registry_operations_total", operation="register", status="success") == 1
    assert value("registry_operations_total", operation="register", status="Conflict") == 1
    assert value("registry_operations_total", operation="lookup", status="NotFound") == 1
    assert value("registry_operation_duration_seconds_count", operation="lookup") == 2
    request = "registry_request_duration_seconds_count"
    assert value(request, endpoint="/services/{service}", method="GET", status="200") == 1
    assert value(request, endpoint="unmatched", method="GET", status="404") == 1
    assert value(request, endpoint="unmatched", method="other", status="405") == 1
    assert value("registry_active_services") == 0
    assert value("registry_watchers") == 0
    assert (value("registry_memory_bytes") or 0) > 1_000_000
    assert value("registry_cpu_percent") is not None


async def test_an_expiry_is_counted_by_the_sweep_of_the_replica() -> None:
    clock = FakeClock()
    async with serving(clock=clock) as api:
        await api.register()
        for _ in range(74):
            clock.pass_time(1)
            await api.replica.store.sweep()
            if not len(api.replica.view.catalog):
                break
        assert not len(api.replica.view.catalog)


async def test_the_replica_sweeps_by_itself() -> None:
    short = msgspec.structs.replace(
        READY, terms=msgspec.structs.replace(READY.terms, ttl_s=0.2, heartbeat_s=0.1, grace_s=0.1, sweep_every_s=0.05)
    )
    async with serving(short) as api:
        await api.register()
        await eventually(lambda: not len(api.replica.view.catalog), "the instance expired")
        await eventually(
            lambda: b"expired_services_total 1.0" in api.replica.metrics.exposition(), "the expiry was counted"
        )


async def test_an_internal_error_is_logged_and_not_shown(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    def fail() -> list[str]:
        seen.append(trace_id.get())
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(api.replica.view.catalog, "names", fail)
    given = "4bf92f3577b34da6a3ce929d0e0e4736"
    with capture_logs() as logged:
        answer = await api.call("GET", "/services", headers={"traceparent": f"00-{given}-00f067aa0ba902b7-01"})
        await api.call("GET", "/services", headers={"traceparent": "nonsense"})
    assert (answer.status, answer.body["error"]) == (500, "InternalError")
    assert "secret" not in str(answer.body)
    assert [entry["endpoint"] for entry in logged] == ["/services"] * 2
    assert seen[0] == given
    assert len(seen[1] or "") == 32
