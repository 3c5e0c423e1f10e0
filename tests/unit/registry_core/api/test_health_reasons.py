"""Each fault of a replica has its sentence in `/health`, and a healthy replica has none."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.api.guard_report import guard_view
from registry_core.api.health_reasons import MAX_SHARDS_NAMED, health_reasons
from registry_core.api.health_schemas import AccessHealth, PeersHealth
from registry_core.api.health_settings import HealthLimits
from registry_core.domain.guard import GuardPhase
from registry_core.ports.audit import AuditReport
from registry_core.ports.reports import GuardReport
from tests.samples import shard_report

ACCEPTS = AccessHealth(status="ok", refused_recently=1, refused_total=9, last_refusal="the token is wrong")
REFUSES = AccessHealth(status="refusing", refused_recently=12, refused_total=90, last_refusal="the token is wrong")
CLEAR = GuardReport("a", GuardPhase.CLEAR, 10, 0, 0.0, None, 3.0)
HOLDS = GuardReport("a", GuardPhase.HOLDING, 10, 9, 5.0, 295.0, 3.0)


def reasons(**more: Any) -> list[str]:
    healthy: dict[str, Any] = {
        "limits": HealthLimits(),
        "cpu": 5.0,
        "memory": 40.0,
        "hit_percent": 99.0,
        "swept_late_s": None,
        "shards": (shard_report(),),
        "guard": guard_view([CLEAR]),
        "access": ACCEPTS,
        "audit": AuditReport(status="ok"),
        "peers": PeersHealth(known=3, silent=0, silent_urls=[]),
    }
    return health_reasons(**(healthy | more))


def test_a_healthy_replica_gives_no_reason() -> None:
    assert reasons() == []
    assert reasons(cpu=None, memory=None, hit_percent=None, shards=()) == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"access": REFUSES}, ["every write is refused (12 lately)", "the token is wrong", "REGISTRY_SECRET"]),
        ({"swept_late_s": 12.4}, ["last swept 12 s ago"]),
        ({"guard": guard_view([HOLDS])}, ["too many leases ran out at once", "9 of 10"]),
        ({"cpu": 91.0}, ["the processor: 91 %"]),
        ({"memory": 85.0}, ["memory: 85 %"]),
        ({"shards": (shard_report(age_s=30.0, problem="no master is known"),)}, ["shard 'a': no master is known"]),
        ({"shards": (shard_report(age_s=None),)}, ["shard 'a': it has not been read yet"]),
        (
            {"peers": PeersHealth(known=5, silent=1, silent_urls=["http://10.0.0.2:8888"])},
            ["1 of 5 replicas", "http://10.0.0.2:8888"],
        ),
        (
            {"audit": AuditReport(status="failing", problem="No space left on device", waiting=7, lost=2)},
            ["cannot be written: No space left on device", "7 entries wait", "2 are lost"],
        ),
        ({"audit": AuditReport(status="disputed", problem="eu-1b went back")}, ["is not what it was: eu-1b went back"]),
        ({"shards": (shard_report(set_aside=2),)}, ["2 of its entries cannot be read"]),
        ({"shards": (shard_report(latency_ms=50.0),)}, ["takes 50 ms to answer"]),
        ({"hit_percent": 61.0}, ["only 61 % of the lookups"]),
        ({"shards": (shard_report(age_s=11.0),)}, ["slow or does not answer"]),
    ],
)
def test_each_fault_has_its_sentence(more: dict[str, Any], words: list[str]) -> None:
    (sentence,) = reasons(**more)
    assert all(word in sentence for word in words), sentence


def test_many_shards_share_a_sentence() -> None:
    ill = tuple(shard_report(shard=str(number), problem="no master is known", age_s=None) for number in range(20))
    given = reasons(shards=ill)
    assert len(given) == MAX_SHARDS_NAMED + 1
    assert given[-1] == "12 more shards are not healthy"
