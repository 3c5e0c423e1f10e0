"""Many leases in one request: each has its result, in order, and a refusal names the one that it is about."""

from __future__ import annotations

import random

import pytest
from structlog.testing import capture_logs

from registry_core.api.auth import Caller
from registry_core.api.by_name import ByName
from registry_core.api.calls import WriteCall
from registry_core.api.refusal_log import RefusalLog
from registry_core.api.renewals import Renewals
from registry_core.api.schemas import BeatBody, HeartbeatBody
from registry_core.api.standstill import WriteGate
from registry_core.api.view import ReplicaView
from registry_core.domain.leases import LeaseTerms
from registry_core.errors import Fenced, Forbidden, NotFound, ValidationError
from registry_core.ports.store import Beat, BeatResult
from registry_core.security.identities import Identity, Role
from registry_core.store.memory import MemoryStore
from registry_core.telemetry.metrics import ReplicaMetrics
from tests.samples import FakeClock, claim


class HalfAway(MemoryStore):
    """A store that cannot renew what is in `away`."""

    away: frozenset[str] = frozenset()

    async def renew(self, beats: list[Beat]) -> list[BeatResult]:  # type: ignore[override] # the tests pass lists
        found = await super().renew(beats)
        return [
            BeatResult("unavailable") if beat.instance_id in self.away else result
            for beat, result in zip(beats, found, strict=True)
        ]


class RenewalParts:
    """Leases of three instances, renewed through one replica."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.store = HalfAway(clock, LeaseTerms(), "e1", random.Random(1))
        self.view = ReplicaView(clock, ttl_s=60, warming_s=0, store_age_s=self.store.age_s)
        self.renewals = Renewals(
            self.store,
            self.view.catalog,
            ByName(self.view.catalog, clock, 30.0),
            gate=WriteGate(ReplicaMetrics()),
            refusals=RefusalLog(clock),
        )

    async def renew(
        self, *beats: BeatBody, caller: Caller | None = None, too_many: frozenset[int] = frozenset()
    ) -> list[tuple[str | None, str]]:
        """Return the instance and the status of each result."""
        call = WriteCall(
            caller=caller if caller is not None else Caller(), body=HeartbeatBody(instances=beats), too_many=too_many
        )
        answer = await self.renewals.renew(call)
        assert (answer.status == "renewed") is all(one.status == "renewed" for one in answer.instances)
        return [(one.instance_id, one.status) for one in answer.instances]


@pytest.fixture
async def parts() -> RenewalParts:
    made = RenewalParts()
    await made.store.start(made.view)
    for port in (8001, 8002, 8003):
        await made.store.register(claim(port=port, epoch=5))
    return made


def beat(port: int, epoch: int | None = 5, name: str = "ip_intel") -> BeatBody:
    return BeatBody(service_name=name, instance_id=f"10.0.0.7:{port}", epoch=epoch)


async def test_each_lease_has_its_result_in_order(parts: RenewalParts) -> None:
    parts.store.away = frozenset({"10.0.0.7:8002"})
    with capture_logs() as logs:
        found = await parts.renew(beat(8001), beat(9999), beat(8002), beat(8003, epoch=4), beat(8003))
    assert [status for _, status in found] == ["renewed", "unknown", "unavailable", "fenced", "renewed"]
    assert [instance for instance, _ in found][1] == "10.0.0.7:9999", "as it was sent"
    assert [log["event"] for log in logs] == ["write_refused", "heartbeats_failed"]
    assert logs[0]["instance"] == "10.0.0.7:8003"


async def test_what_repeats_too_often_is_not_sent_to_the_store(parts: RenewalParts) -> None:
    parts.store.away = frozenset({"10.0.0.7:8001"})
    assert await parts.renew(beat(8001), beat(8002), too_many=frozenset({0})) == [
        ("10.0.0.7:8001", "renewed"),
        ("10.0.0.7:8002", "renewed"),
    ]


async def test_a_single_heartbeat_that_is_refused_is_an_error(parts: RenewalParts) -> None:
    for body, error in (
        (HeartbeatBody(service_name="ip_intel", instance_id="nobody"), NotFound),
        (HeartbeatBody(service_name="ip_intel", instance_id="10.0.0.7:8001", epoch=4), Fenced),
    ):
        with pytest.raises(error):
            await parts.renewals.renew(WriteCall(caller=Caller(), body=body))


async def test_a_fault_names_the_heartbeat_that_has_it(parts: RenewalParts) -> None:
    for wrong, field in (
        (beat(8002, name="IP"), "instances[1].service_name"),
        (BeatBody(service_name="ip_intel", instance_id="a/b"), "instances[1].instance_id"),
    ):
        with pytest.raises(ValidationError) as caught:
            await parts.renew(beat(8001), wrong)
        assert caught.value.field == field


async def test_every_service_of_a_request_must_be_the_senders(parts: RenewalParts) -> None:
    caller = Caller(Identity(Role.SERVICE, service="ip_intel"))
    assert len(await parts.renew(beat(8001), beat(8002), caller=caller)) == 2
    with pytest.raises(Forbidden, match="billing"):
        await parts.renew(beat(8001), beat(8002, name="billing"), caller=caller)
