"""`GET /metrics` of a real replica: what the documentation lists, in both formats, and what the watch adds."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from registry_core.replica_settings import replica_settings
from registry_core.store.redis.store import RedisStore
from tests.integration.replicas import Api, serving
from tests.openmetrics import families_in
from tests.programs import eventually
from tests.redis_topology import redis_server
from tools.metrics_page import metrics

OPENMETRICS: Final = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SPAN: Final = f"00-{TRACE}-b7ad6b7169203331-01"
DOCUMENTED: Final = {metric.name: metric for metric in metrics() if metric.program == "registry"}
OF_A_SERIES: Final = {"le", "quantile"}
OF_FOLLOWERS: Final = "registry_upstream"


@contextlib.asynccontextmanager
async def replica(folder: Path, store: str) -> AsyncIterator[Api]:
    """Run a replica with such a store, which has done a little of everything."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(redis_server(folder / "redis")).url if store == "redis" else "memory:"
        environment = {"REGISTRY_LISTEN": "127.0.0.1:0", "REGISTRY_STORE": url, "REGISTRY_WARMING": "0"}
        async with serving(replica_settings(environment)) as api:
            await eventually(lambda: api.replica.view.loaded, "the store was read")
            await api.register()
            for path in ("/services/ip_intel", "/services/nobody", "/watch?once=true", "/health"):
                await api.call("GET", path, headers={"traceparent": SPAN})
            assert isinstance(api.replica.store, RedisStore) is (store == "redis")
            yield api


async def families(api: Api) -> dict[str, Metric]:
    """Return the families of the plain format, under the names that queries use."""
    text = (await api.call("GET", "/metrics")).body.decode()
    found = list(text_string_to_metric_families(text))
    return {f"{one.name}_total" if one.type == "counter" else one.name: one for one in found}


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_the_page_of_metrics_is_what_a_replica_exposes(tmp_path: Path, store: str) -> None:
    async with replica(tmp_path, store) as api:
        exposed = await families(api)
    created = {name for name in exposed if name.endswith("_created")}
    # Followers have some more.
    own = {name: metric for name, metric in DOCUMENTED.items() if not name.startswith(OF_FOLLOWERS)}
    assert exposed.keys() - created == own.keys()
    for name, metric in own.items():
        assert (exposed[name].type, exposed[name].documentation) == (metric.kind, metric.meaning)
        labels = {label for sample in exposed[name].samples for label in sample.labels} - OF_A_SERIES
        assert labels <= set(metric.labels), name
        assert not exposed[name].samples or labels == set(metric.labels), name
    with_shards = {name for name, metric in DOCUMENTED.items() if "shard" in metric.labels and exposed[name].samples}
    # Without a replica of Redis no write waits for one.
    expected = {name for name, metric in DOCUMENTED.items() if "shard" in metric.labels}
    assert with_shards == (expected - {"registry_store_confirm_seconds"} if store == "redis" else set())


async def test_a_scraper_that_asks_for_openmetrics_gets_the_traces_of_slow_requests(tmp_path: Path) -> None:
    async with replica(tmp_path, "memory") as api:
        plain = await api.call("GET", "/metrics")
        answer = await api.call("GET", "/metrics", headers=OPENMETRICS)
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert TRACE.encode() not in plain.body
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.headers["Vary"] == "Accept"
    found = families_in(answer.body)
    for name, label, value in (
        ("registry_request_duration_seconds", "endpoint", "/services/{service}"),
        ("registry_operation_duration_seconds", "operation", "lookup"),
    ):
        traced = [
            sample.exemplar
            for sample in found[name].samples
            if sample.labels.get(label) == value and sample.exemplar is not None
        ]
        assert traced
        assert {exemplar.labels["trace_id"] for exemplar in traced} == {TRACE}
        assert all(exemplar.value > 0 for exemplar in traced)


async def test_a_reader_of_the_watch_is_counted_with_what_it_gets(tmp_path: Path) -> None:
    async with replica(tmp_path, "memory") as api:
        registry = api.replica.metrics.registry

        def value(name: str, **labels: str) -> float:
            return registry.get_sample_value(name, labels) or 0

        before = value("registry_watch_events_total")
        async with api.session.get(f"{api.url}/watch", headers={"X-Watch-Protocol": "2"}) as watch:
            await watch.content.readany()
            assert value("registry_watch_snapshots_total", kind="start") == 2
            read = value("registry_watch_octets_total")
            await api.call("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "critical"})
            await eventually(lambda: value("registry_watch_lag_seconds_count") == 1, "the change was followed")
            assert value("registry_watch_events_total") == before + 1
            assert value("registry_watch_octets_total") > read
            assert value("registry_watch_behind") == 0
            assert value("registry_watchers") == 1


async def test_a_change_to_critical_is_a_failed_check_and_its_repetition_is_none(tmp_path: Path) -> None:
    async with replica(tmp_path, "memory") as api:
        registry = api.replica.metrics.registry
        for status in ("critical", "critical", "passing", "warning", "critical", "draining"):
            answer = await api.call("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": status})
            assert answer.status == 200
        assert registry.get_sample_value("registry_health_check_failures_total") == 2
        await api.register(status="critical")
        assert registry.get_sample_value("registry_health_check_failures_total") == 3
        await api.register(service_name="billing", port=8035, status="critical")  # it never passed
        assert registry.get_sample_value("registry_health_check_failures_total") == 3
