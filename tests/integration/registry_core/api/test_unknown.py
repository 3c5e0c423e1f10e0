"""An instance that the store cannot decide on is never reported as missing: 503, and no 404."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.store.memory import MemoryStore
from tests.integration.replicas import Api

REASON = "shard 'b' is not followed: no master is known"


@pytest.fixture(autouse=True)
def _partly_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store report that billing, in either spelling, may exist."""
    monkeypatch.setattr(MemoryStore, "unknown", lambda _, label: REASON if label == "billing-one" else "")


@pytest.mark.parametrize("name", ["billing_one", "billing-one"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/services/{}"),
        ("GET", "/services/{}?tag=canary"),
        ("GET", "/drain/{}/10.0.0.7:8034"),
        ("DELETE", "/deregister/{}"),
        ("DELETE", "/deregister/{}?all=true"),
    ],
)
async def test_an_instance_that_may_exist_is_unavailable_with_the_reason(
    api: Api, name: str, method: str, path: str
) -> None:
    answer = await api.call(method, path.format(name))
    assert (answer.status, answer.body["error"]) == (503, "StoreUnavailable")
    assert REASON in answer.body["message"]
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/services/nobody"), ("GET", "/drain/nobody/10.0.0.7:8034"), ("DELETE", "/deregister/nobody")],
)
async def test_a_nonexistent_instance_is_not_found(api: Api, method: str, path: str) -> None:
    assert (await api.call(method, path)).status == 404


async def test_known_instances_are_returned_whatever_else_may_exist(api: Api) -> None:
    await api.register("billing_one", tags=["eu"])
    await api.register("ip_intel", port=8035)
    answers: list[Any] = [await api.call("GET", f"/services/{name}") for name in ("billing_one", "ip_intel")]
    assert [answer.status for answer in answers] == [200, 200]
    assert (await api.call("GET", "/services/billing_one?tag=eu")).status == 200
    assert (await api.call("GET", "/services/billing_one?tag=canary")).status == 503, "such an instance may exist"
    assert (await api.call("GET", "/services/ip_intel?tag=canary")).status == 404
    assert (await api.call("GET", "/services")).body == ["billing_one", "ip_intel"]
    assert (await api.call("DELETE", "/deregister/billing_one")).status == 200
