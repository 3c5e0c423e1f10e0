"""A deployment at a glance: replicas of several releases, silent ones, shards that are seen differently."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry_core.api.deployment import SHARED_S, Deployment, counts, deployment_view, earlier_summary
from registry_core.api.deployment_schemas import (
    EarlierHealth,
    ReplicaSummary,
    RequestTotals,
    ServiceCounts,
    ShardSummary,
)
from registry_core.api.follow_tree import FollowTree
from registry_core.api.health_schemas import HealthView
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.records import Status
from registry_core.replica import Replica
from registry_core.replica_settings import ReplicaSettings
from tests.samples import FakeClock, instance

OLD = {"uptime_seconds": 7, "active_services": 2, "instances": 3}
NONE = ServiceCounts(services=0, usable=0, unusable=[], instances=0, by_status={})


def replica(name: str, status: str = "healthy", **fields: Any) -> ReplicaSummary:
    known = {"state": "ready", "uptime_seconds": 1.0, "services": 1, "instances": 1, "version": "1.0.0"}
    return ReplicaSummary(id=name, url=f"http://{name}", status=status, **{**known, **fields})


def shard(master: str, lag_seconds: float | None = 0.1, **fields: Any) -> ShardSummary:
    known = {"breaker": "closed", "writes_waiting": 1}
    return ShardSummary(shard="a", master=master, lag_seconds=lag_seconds, **{**known, **fields})


class StandIn:
    """Other replicas, as `Peers` asks them."""

    id = "own"

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        self.urls = tuple(dict.fromkeys(url.rpartition("/")[0] for url in answers))
        self.answers = answers
        self.asked: list[str] = []

    async def ask(self, _method: str, url: str, path: str, *, most_bytes: int = 1) -> tuple[int, bytes]:
        assert most_bytes > 0
        self.asked.append(url + path)
        status, body = self.answers.get(url + path, (0, None))
        return status, msgspec.json.encode(body)


def deployment(peers: StandIn, clock: FakeClock) -> Deployment:
    one = Replica(ReplicaSettings(), clock=clock)

    def health() -> HealthView:
        return msgspec.structs.replace(one.health.view(), status="healthy", reasons=[])

    tree = FollowTree("own", clock)
    return Deployment(health, one.view, peers, RequestTotals, version="1.0.0", zone="z", clock=clock, tree=tree)  # type: ignore[arg-type]  # a stand-in


async def test_each_replica_is_there_once_and_silent_ones_are_named() -> None:
    peers = StandIn(
        {
            "http://own/deployment": (200, replica("own")),
            "http://b/deployment": (200, replica("b", "degraded", reasons=["slow"])),
            "http://old/deployment": (404, None),
            "http://old/health": (
                200,
                {"status": "healthy", "uptime_seconds": 7, "active_services": 2, "instances": 3},
            ),
            "http://away/deployment": (0, None),
        }
    )
    said = await deployment(peers, FakeClock()).whole()
    assert [(one.id, one.url, one.version) for one in said.replicas] == [
        ("b", "http://b", "1.0.0"),
        ("http://old", "http://old", ""),
        ("own", "http://own", "1.0.0"),
    ]
    assert said.silent == ["http://away"]
    assert said.status == "degraded"
    assert said.reasons == [
        "no replica answers at http://away",
        "http://b: slow",
        "the replicas are of several releases: an earlier one, 1.0.0",
    ]


async def test_many_who_ask_cost_the_other_replicas_one_request_a_second() -> None:
    clock = FakeClock()
    peers = StandIn({"http://b/deployment": (200, replica("b"))})
    one = deployment(peers, clock)
    for _ in range(50):
        await one.whole()
    assert len(peers.asked) == 1
    clock.pass_time(SHARED_S + 0.01)
    await one.whole()
    assert len(peers.asked) == 2


@pytest.mark.parametrize("body", [{"id": "b"}, [], "text"])
async def test_an_answer_of_another_shape_is_no_replica(body: Any) -> None:
    said = await deployment(StandIn({"http://b/deployment": (200, body)}), FakeClock()).whole()
    assert said.silent == ["http://b"]


def test_a_state_of_a_later_release_is_no_good_sign() -> None:
    said = deployment_view([replica("a", "splendid", guard="hovering")], [], NONE, at="")
    assert (said.status, said.guard) == ("degraded", "hovering")


def test_a_shard_is_as_far_behind_as_at_the_last_replica() -> None:
    views = [shard("r:1", 0.1), shard("r:1", 7.5, breaker="open", problem="no answer")]
    said = deployment_view([replica(str(n), shards=[one]) for n, one in enumerate(views)], [], NONE, at="")
    assert said.shards == [shard("r:1", 7.5, breaker="open", problem="no answer", writes_waiting=2)]


def test_a_replica_that_never_read_a_shard_leaves_its_lag_unknown() -> None:
    said = deployment_view(
        [replica("a", shards=[shard("r:1")]), replica("b", shards=[shard("", None)])], [], NONE, at=""
    )
    assert [(one.master, one.lag_seconds) for one in said.shards] == [("r:1", None)]


def test_replicas_that_see_different_masters_are_a_reason() -> None:
    said = deployment_view([replica("a", shards=[shard("r:1")]), replica("b", shards=[shard("r:2")])], [], NONE, at="")
    assert said.reasons == ["shard a: the replicas see different masters: r:1, r:2"]


def test_long_reasons_are_cut() -> None:
    health = EarlierHealth(status="x", reasons=["y" * 5000] * 50, uptime_seconds=1, active_services=0, instances=0)
    said = earlier_summary(health, "u")
    assert sum(map(len, said.reasons)) <= 2400


def test_services_count_by_what_selection_would_pick() -> None:
    catalog = Catalog()
    wanted = (("billing", 1, Status.PASSING), ("billing", 2, Status.CRITICAL), ("audit", 3, Status.MAINTENANCE))
    catalog.replace(
        Lived(instance(service_name=name, port=8000 + n, instance_id=str(n), status=status), 0.0)
        for name, n, status in wanted
    )
    assert counts(catalog) == ServiceCounts(
        services=2,
        usable=1,
        unusable=["audit"],
        instances=3,
        by_status={"critical": 1, "maintenance": 1, "passing": 1},
    )


def test_a_follower_that_is_not_well_degrades_its_deployment_and_says_why() -> None:
    ill = replica("edge", "unhealthy", zone="eu-9", address="203.0.113.9", reasons=["away"])
    middle = replica("middle", followers=[ill])
    view = deployment_view([replica("a", followers=[middle])], [], NONE, at="now")
    assert view.status == "degraded"
    assert view.reasons == ["follower edge eu-9 203.0.113.9: away"]
