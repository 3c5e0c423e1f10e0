"""The limits of one instance: a client in a loop is refused, one that keeps its schedule never."""

from __future__ import annotations

import pytest

from registry_core.api.instance_limits import Claimant, InstanceLimits, enough
from registry_core.api.limit_settings import RequestRate
from registry_core.domain.records import InstanceKey

START = 1000.0
OWNER = Claimant("ip_intel", "a", 7, "10.0.0.7")


class Fresh:
    """Says of every lease whether it is fresh."""

    def __init__(self, *, now: bool = True) -> None:
        self.now = now

    def __call__(self, _key: InstanceKey, epoch: int | None) -> bool:
        return self.now and epoch in (None, 7)


def limits(fresh: Fresh, heartbeat_s: float = 30.0) -> InstanceLimits:
    return InstanceLimits(RequestRate(5, 60), RequestRate(10, 60), heartbeat_s=heartbeat_s, is_fresh=fresh)


def beats(known: InstanceLimits, times: int, now: float, epoch: int | None = 7, client: str = "10.0.0.7") -> int:
    """Return how many of so many heartbeats are let through."""
    taken = [known.heartbeat(Claimant("ip_intel", "a", epoch, client), now) for _ in range(times)]
    return sum(one is None or one.admitted for one in taken)


def test_a_client_in_a_loop_is_refused() -> None:
    known = limits(Fresh())
    assert beats(known, 100, START) == 10
    registered = [known.registration(OWNER, START) for _ in range(100)]
    assert sum(one is not None and one.admitted for one in registered) == 5
    last = registered[-1]
    assert last is not None
    assert last.retry_after_s == pytest.approx(12)


def test_a_lease_that_has_used_half_of_its_ttl_is_always_renewed() -> None:
    fresh = Fresh()
    known = limits(fresh)
    assert beats(known, 100_000, START) == 10
    fresh.now = False
    assert beats(known, 1, START) == 1


def test_what_the_registry_does_not_hold_may_always_be_registered() -> None:
    known = limits(Fresh(now=False))
    assert all(known.registration(OWNER, START) is None for _ in range(100))


@pytest.mark.parametrize("heartbeat_s", [0.2, 1.0, 5.0, 30.0, 300.0])
def test_every_schedule_with_its_retries_stays_within_the_limit(heartbeat_s: float) -> None:
    known = limits(Fresh(), heartbeat_s)
    for number in range(200):
        now = START + number * heartbeat_s
        assert beats(known, 1, now) == beats(known, 1, now + 0.1 * heartbeat_s) == 1


def test_a_limit_that_suffices_for_the_schedule_stays_as_it_is() -> None:
    assert enough(RequestRate(10, 60), 30.0) == RequestRate(10, 60)
    assert enough(RequestRate(10, 60), 1.0) == RequestRate(180, 60)
    assert enough(None, 1.0) is None


def test_a_former_owner_does_not_use_up_the_limit_of_the_present_one() -> None:
    known = limits(Fresh())
    beats(known, 1000, START, epoch=6)
    assert beats(known, 10, START) == 10


def test_a_stranger_does_not_use_up_the_limit_of_the_owner() -> None:
    """The attack: somebody without a right who knows the instance and its epoch, as everybody does."""
    known = limits(Fresh())
    beats(known, 1000, START, client="203.0.113.7")
    assert beats(known, 10, START) == 10


def test_a_registration_that_failed_does_not_count() -> None:
    known = limits(Fresh())
    for _ in range(100):
        taken = known.registration(OWNER, START)
        assert taken is not None
        assert taken.admitted
        known.registration_failed(OWNER, START)


def test_spellings_of_one_service_share_a_limit() -> None:
    known = limits(Fresh())
    beats(known, 10, START)
    refused = known.heartbeat(OWNER._replace(service_name="IP-intel"), START)
    assert refused is not None
    assert not refused.admitted


def test_without_limits_nothing_is_counted() -> None:
    known = InstanceLimits(None, None, heartbeat_s=30.0, is_fresh=Fresh())
    assert known.heartbeat(OWNER, START) is None
    assert known.registration(OWNER, START) is None
    known.registration_failed(OWNER, START)
