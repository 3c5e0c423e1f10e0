"""Which watchers know that an instance drains, as one replica counts them, and as several are summed up."""

from __future__ import annotations

import random

import pytest

from agent.registration.drain_progress import summed
from registry_core.api.drain_schemas import DrainView, ReplicaDrain
from registry_core.api.drains import Drains
from registry_core.api.hub import WatchHub
from registry_core.api.view import ReplicaView
from registry_core.domain.events import Position
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import Status
from registry_core.errors import NotFound, StoreUnavailable, ValidationError, Warming
from registry_core.ports.store import Snapshot
from registry_core.store.memory import MemoryStore
from registry_core.watch.cursor import Cursor, cursor_of, parse_cursor
from tests.samples import FakeClock, claim, instance, lived

CLAIM = claim()


class Replica:
    """A store, a view, a hub and the drains, connected as in a replica."""

    def __init__(self, warming_s: float = 0.0) -> None:
        clock = FakeClock()
        self.store = MemoryStore(clock, LeaseTerms(), "e1", random.Random(1))
        self.view = ReplicaView(clock, ttl_s=60, warming_s=warming_s, store_age_s=self.store.age_s)
        self.hub = WatchHub(self.view)
        self.unknown = ""
        self.drains = Drains(self.view, self.hub, unknown=lambda _: self.unknown)

    def counts(self) -> tuple[int, int]:
        view = self.drains.progress(CLAIM.service_name, CLAIM.instance_id)
        return view.acknowledged, view.watchers


async def draining(warming_s: float = 0.0) -> Replica:
    """Return a replica with one draining instance."""
    replica = Replica(warming_s)
    await replica.store.start(replica.view)
    await replica.store.register(CLAIM)
    await replica.store.set_status(CLAIM.key, Status.DRAINING)
    return replica


async def test_only_watchers_that_have_reached_the_revision_are_counted() -> None:
    replica = await draining()
    for name in "ab":
        replica.hub.open(Cursor(), watcher_id=name)
    assert replica.counts() == (0, 2)
    said_at = replica.view.cursor
    assert replica.drains.progress(CLAIM.service_name, CLAIM.instance_id).revision == str(said_at)
    replica.hub.acknowledge("a", parse_cursor("0.e1.1"))
    assert replica.counts() == (0, 2), "that was the registration, not the drain"
    replica.hub.acknowledge("a", said_at)
    assert replica.counts() == (1, 2)
    replica.hub.acknowledge("b", parse_cursor("0.e1.99"))
    assert replica.counts() == (2, 2), "a later position includes this one"


async def test_an_outdated_acknowledgement_takes_nothing_back() -> None:
    replica = await draining()
    replica.hub.open(Cursor(), watcher_id="a")
    replica.hub.acknowledge("a", replica.view.cursor)
    replica.hub.acknowledge("a", parse_cursor("0.e1.1"))
    assert replica.counts() == (1, 1)


async def test_a_watcher_that_resumes_after_the_drain_knows_it_and_one_that_gets_a_snapshot_does_not_yet() -> None:
    replica = await draining()
    replica.hub.open(replica.view.cursor, watcher_id="a")
    assert replica.counts() == (1, 1)
    replica.hub.open(parse_cursor("0.e1.1"), watcher_id="b")
    replica.hub.open(parse_cursor("0.another.9"), watcher_id="c")
    assert replica.counts() == (1, 3)


async def test_watchers_that_do_not_acknowledge_or_left_or_follow_another_service_are_not_waited_for() -> None:
    replica = await draining()
    replica.hub.open(Cursor())  # like a user with curl
    replica.hub.open(Cursor(), label="billing", watcher_id="a")
    replica.hub.leave(replica.hub.open(Cursor(), watcher_id="b"))
    replica.hub.open(Cursor(), watcher_id="d", connected=lambda: False)
    assert replica.counts() == (0, 0)
    replica.hub.open(Cursor(), label=CLAIM.key.label, watcher_id="c")
    assert replica.counts() == (0, 1)
    assert not replica.hub.acknowledge("b", replica.view.cursor)
    assert not replica.hub.acknowledge("", replica.view.cursor)


async def test_a_drain_must_be_acknowledged_again_after_a_failover() -> None:
    replica = await draining()
    replica.hub.open(Cursor(), watcher_id="a")
    replica.hub.acknowledge("a", replica.view.cursor)
    anew = cursor_of([Position(0, "e2", 1)])
    replica.view.reset(Snapshot(anew, (lived(instance(status=Status.DRAINING)),)))
    assert replica.counts() == (0, 1)
    replica.hub.acknowledge("a", anew)
    assert replica.counts() == (1, 1)


@pytest.mark.parametrize("how", ["another status", "registered anew"])
async def test_an_instance_that_is_back_does_not_drain(how: str) -> None:
    replica = await draining()
    replica.hub.open(Cursor(), watcher_id="a")
    replica.hub.acknowledge("a", replica.view.cursor)
    if how == "another status":
        await replica.store.set_status(CLAIM.key, Status.PASSING)
    else:
        await replica.store.register(CLAIM)
    view = replica.drains.progress(CLAIM.service_name, CLAIM.instance_id)
    assert (view.status, view.revision, view.acknowledged, view.watchers) == (Status.PASSING, "", 0, 1)


async def test_a_missing_instance_is_not_found_unless_the_replica_cannot_know() -> None:
    replica = await draining()
    with pytest.raises(NotFound):
        replica.drains.progress(CLAIM.service_name, "10.0.0.99:1")
    with pytest.raises(ValidationError):
        replica.drains.progress("a", "x")
    await replica.store.deregister(CLAIM.key)
    with pytest.raises(NotFound):
        replica.drains.progress(CLAIM.service_name, CLAIM.instance_id)
    with pytest.raises(Warming):
        (await draining(warming_s=60)).drains.progress(CLAIM.service_name, "10.0.0.99:1")


# -- several replicas


def said(watchers: int, acknowledged: int, silent_replicas: int = 0, **by_replica: tuple[int, int]) -> DrainView:
    return DrainView(
        by_replica={name: ReplicaDrain(watchers=w, acknowledged=a) for name, (w, a) in by_replica.items()},
        silent_replicas=silent_replicas,
        service_name=CLAIM.service_name,
        instance_id=CLAIM.instance_id,
        status=Status.DRAINING,
        revision="0.e1.2",
        watchers=watchers,
        acknowledged=acknowledged,
    )


def test_a_drain_is_confirmed_when_all_watchers_of_every_replica_know_it() -> None:
    stands = summed(CLAIM, [said(3, 3), said(0, 0), said(2, 2)])
    assert (stands.acknowledged, stands.watchers, stands.silent, stands.confirmed) == (5, 5, 0, True)


def test_a_replica_with_several_addresses_is_counted_once() -> None:
    stands = summed(CLAIM, [said(5, 5, a=(3, 3), b=(2, 2)), said(5, 5, b=(2, 2), a=(3, 3)), said(1, 1)])
    assert (stands.acknowledged, stands.watchers, stands.confirmed) == (6, 6, True)


def test_a_peer_is_missing_only_if_no_replica_could_ask_it() -> None:
    partly, wholly = said(3, 3, 1, a=(3, 3)), said(5, 5, a=(3, 3), b=(2, 2))
    assert (summed(CLAIM, [partly]).silent, summed(CLAIM, [partly]).confirmed) == (1, False)
    assert summed(CLAIM, [partly, wholly]).confirmed
    assert not summed(CLAIM, [partly, said(0, 0, b=(0, 0))]).confirmed


@pytest.mark.parametrize(
    "answers", [[said(3, 3), said(2, 1)], [said(3, 3), None], [None], []], ids=["one misses", "silent", "all", "none"]
)
def test_a_drain_is_not_confirmed_while_any_watcher_may_not_know_it(answers: list[DrainView | None]) -> None:
    assert not summed(CLAIM, answers).confirmed


async def test_an_instance_of_an_unread_shard_is_not_reported_as_missing() -> None:
    replica = await draining()
    replica.unknown = "shard 'b' is not followed"
    with pytest.raises(StoreUnavailable, match="shard 'b' is not followed"):
        replica.drains.progress("billing", "10.0.0.7:9000")
    assert replica.counts() == (0, 0), "known instances are reported as before"
