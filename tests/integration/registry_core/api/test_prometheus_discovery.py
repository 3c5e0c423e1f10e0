"""`GET /sd/prometheus` of a replica, over real HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.integration.replicas import READY, Api, serving
from tests.samples import FakeClock

READ_KEY = "a-long-read-key"
CLOSED = msgspec.structs.replace(
    READY,
    secrets=("a-long-random-word",),
    access=msgspec.structs.replace(READY.access, reads_are_open=False, read_keys=(READ_KEY,)),
)


def found(body: Any) -> list[str]:
    return sorted(target for group in body for target in group["targets"])


async def test_every_instance_is_a_target_whatever_its_status(api: Api) -> None:
    assert (await api.call("GET", "/sd/prometheus")).body == []
    for number, status in enumerate(("passing", "critical", "draining", "maintenance")):
        await api.register(port=8001 + number, status=status)
    answer = await api.call("GET", "/sd/prometheus")
    assert answer.headers["Content-Type"] == "application/json", "Prometheus refuses others"
    assert found(answer.body) == [f"10.0.0.7:{port}" for port in range(8001, 8005)]
    assert {group["labels"]["__meta_vertice_status"] for group in answer.body} == {
        "passing",
        "critical",
        "draining",
        "maintenance",
    }


async def test_the_filters(api: Api) -> None:
    await api.register("billing", port=8001, version="1.4.2", tags=["canary"], zone="z1")
    await api.register("billing", port=8002, version="2.0.0", zone="z2", status="critical")
    await api.register("auth", port=8003, version="1.4.3", zone="z1")

    async def ports(query: str) -> list[int]:
        answer = await api.call("GET", f"/sd/prometheus?{query}")
        assert answer.status == 200, answer.body
        return [int(target.rpartition(":")[2]) for target in found(answer.body)]

    assert await ports("service=billing") == [8001, 8002]
    assert await ports("service=nobody") == []
    assert await ports("tag=canary") == [8001]
    assert await ports("zone=z1") == [8001, 8003]
    assert await ports("zone=z1&service=auth") == [8003]
    assert await ports("status=passing") == [8001, 8003]
    assert await ports("version=1.4") == [8001, 8003]


@pytest.mark.parametrize("query", ["service=A!", "status=well", "servcie=x", "tag=a&tag=b", "tag=%20"])
async def test_a_wrong_filter_is_refused_and_never_an_empty_list(api: Api, query: str) -> None:
    answer = await api.call("GET", f"/sd/prometheus?{query}")
    assert answer.status == 400
    assert answer.body["field"] == query.partition("=")[0]


async def test_a_reader_with_the_newest_list_gets_none(api: Api) -> None:
    await api.register()
    first = await api.call("GET", "/sd/prometheus")
    again = await api.call("GET", "/sd/prometheus", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    await api.register(port=8035)
    changed = await api.call("GET", "/sd/prometheus", headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status, len(changed.body)) == (200, 2)
    head = await api.call("HEAD", "/sd/prometheus")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["ETag"] == changed.headers["ETag"]


async def test_a_warming_replica_gives_no_list_so_that_prometheus_keeps_its_targets() -> None:
    clock = FakeClock()
    async with serving(msgspec.structs.replace(READY, warming_s=60.0), clock=clock) as api:
        await api.register()
        for headers in ({}, {"If-None-Match": "*"}):
            answer = await api.call("GET", "/sd/prometheus", headers=headers)
            assert (answer.status, answer.body["error"]) == (503, "Warming")
            assert int(answer.headers["Retry-After"]) >= 1
        clock.pass_time(60)
        assert len((await api.call("GET", "/sd/prometheus")).body) == 1


async def test_also_where_a_warming_replica_denies_names() -> None:
    """Old clients may be told that a name does not exist; Prometheus would drop its targets."""
    settings = msgspec.structs.replace(READY, warming_s=60.0, denies_while_warming=True)
    async with serving(settings, clock=FakeClock()) as api:
        assert (await api.call("GET", "/services/billing")).status == 404
        assert (await api.call("GET", "/sd/prometheus")).status == 503


async def test_the_read_key_reads_the_targets_and_the_metrics() -> None:
    async with serving(CLOSED) as api:
        for path in ("/sd/prometheus", "/metrics"):
            assert (await api.call("GET", path)).status == 401
            wrong = await api.call("GET", path, headers={"Authorization": "Bearer wrong"})
            assert wrong.status == 401
            right = await api.call("GET", path, headers={"Authorization": f"Bearer {READ_KEY}"})
            assert right.status == 200, right.body
