"""Which replicas must confirm a write, and what is in doubt: the rules one by one."""

from __future__ import annotations

import msgspec
import pytest

from registry_core.store.redis.choice import Vote
from registry_core.store.redis.quorum import (
    DOUBT_MOST_S,
    AfterTry,
    Confidence,
    Lag,
    MasterStanding,
    after_try,
    lag_of,
    required,
    standing_of,
)
from registry_core.store.redis.url import ServerAddress

MASTER, ONE, OTHER = ServerAddress("10.0.0.1", 6379), ServerAddress("10.0.0.2", 6379), ServerAddress("10.0.0.3", 6379)
BOTH = frozenset({ONE, OTHER})
CALM = Vote(MASTER, 1, (ONE, OTHER))
STANDING = MasterStanding("run", BOTH)
SURE = Confidence("run", BOTH)


def standing(*votes: Vote, sentinels: int = 3, promoted: ServerAddress | None = None) -> MasterStanding:
    return standing_of(MASTER, "run", votes, sentinels=sentinels, promoted=promoted)


def ruling(
    now: MasterStanding = STANDING,
    confirmed: int = 2,
    confidence: Confidence = SURE,
    configured: int = 1,
    sent_to: str = "run",
) -> AfterTry:
    return after_try(now, sent_to, confirmed=confirmed, configured=configured, confidence=confidence)[0]


def down(*replicas: ServerAddress) -> Vote:
    return msgspec.structs.replace(CALM, down=frozenset(replicas))


# -- who may be promoted


def test_all_replicas_that_a_sentinel_lists_may_be_promoted() -> None:
    assert standing(CALM, CALM, CALM) == STANDING


def test_a_replica_that_all_sentinels_call_down_may_not() -> None:
    assert standing(down(ONE), down(ONE), down(ONE)).electable == {OTHER}
    assert standing(down(ONE), down(ONE)).electable == {OTHER}, "two of three are a majority"


def test_a_replica_that_one_sentinel_reaches_may_be_promoted() -> None:
    assert standing(down(ONE), down(ONE), CALM).electable == BOTH


def test_while_most_sentinels_are_silent_no_replica_counts_as_down() -> None:
    now = standing(down(ONE))
    assert now.electable == BOTH
    assert not now.guarded


def test_a_replica_with_priority_zero_does_not_count() -> None:
    barred = msgspec.structs.replace(CALM, barred=frozenset({ONE}))
    assert standing(barred, barred, barred).electable == {OTHER}


def test_without_sentinels_no_replica_is_promoted() -> None:
    assert standing(sentinels=0) == MasterStanding("run")


@pytest.mark.parametrize(
    ("vote", "is_sign"),
    [
        (msgspec.structs.replace(CALM, failing_over=True), True),
        (msgspec.structs.replace(CALM, failing_over=True, promoted=ONE), True),
        # The failover that made this master goes on until all replicas follow it.
        (Vote(MASTER, 2, (ONE,), failing_over=True), True),
        (Vote(ONE, 1, (MASTER, OTHER), promoted=MASTER, failing_over=True), False),
        (Vote(ONE, 1, (MASTER, OTHER), failing_over=True), False),
        (CALM, False),
    ],
)
def test_a_sentinel_that_seeks_another_master_is_a_sign(vote: Vote, *, is_sign: bool) -> None:
    assert bool(standing(CALM, vote, CALM).contested) == is_sign


def test_a_replica_that_claims_to_be_master_is_a_sign() -> None:
    assert standing(CALM, promoted=ONE).contested == "10.0.0.2:6379 was promoted"


# -- which replicas must confirm


def test_as_many_replicas_must_confirm_as_may_be_promoted_and_follow() -> None:
    assert required(STANDING, 1, SURE) == 2
    assert required(STANDING, 3, SURE) == 3, "and as many as the settings ask for"
    assert required(STANDING, 1, Confidence("run", frozenset({ONE}))) == 1, "a replica that never followed has no data"
    assert required(STANDING, 1, Confidence("an earlier one", BOTH)) == 1
    assert required(STANDING, 0, SURE) == 0


def test_a_write_is_acknowledged_when_every_promotable_replica_confirmed() -> None:
    assert ruling() is AfterTry.ACKNOWLEDGE
    assert ruling(confirmed=1) is AfterTry.ASK_AGAIN
    assert ruling(confirmed=0) is AfterTry.ASK_AGAIN


def test_a_replica_that_left_must_confirm_until_it_is_known_to_be_down() -> None:
    left = SURE.heard(STANDING, Lag(100, {OTHER: 100}), 0.0)
    assert left.followers == BOTH
    assert ruling(confirmed=1, confidence=left) is AfterTry.ASK_AGAIN
    assert ruling(MasterStanding("run", frozenset({OTHER})), confirmed=1, confidence=left) is AfterTry.ACKNOWLEDGE


def test_a_sign_of_another_master_counts_however_many_replicas_confirmed() -> None:
    assert ruling(MasterStanding("run", BOTH, "a Sentinel is looking for another master")) is AfterTry.ASK_AGAIN


@pytest.mark.parametrize("run_id", ["", "another"])
def test_a_write_to_a_former_master_is_sent_again(run_id: str) -> None:
    assert ruling(MasterStanding(run_id, BOTH), confirmed=9) is AfterTry.SEND_AGAIN


# -- a lagging replica


def lagging(since: float | None = 10.0) -> Confidence:
    return msgspec.structs.replace(SURE, doubted_since=since)


BEHIND = Lag(100, {ONE: 99, OTHER: 100})


def test_a_lagging_replica_is_excused_after_the_time_of_a_failover() -> None:
    assert lagging().heard(STANDING, BEHIND, 10.0 + DOUBT_MOST_S - 0.1).excused == frozenset()
    excused = lagging().heard(STANDING, BEHIND, 10.0 + DOUBT_MOST_S)
    assert excused.excused == {ONE}
    assert ruling(confirmed=1, confidence=excused) is AfterTry.ACKNOWLEDGE
    assert excused.certain().excused == {ONE}, "later writes do not wait for it again"


def test_a_replica_that_left_is_excused_too() -> None:
    assert lagging().heard(STANDING, Lag(100, {OTHER: 100}), 20.0).excused == {ONE}


@pytest.mark.parametrize(
    "now",
    [MasterStanding("run", BOTH, guarded=False), MasterStanding("run", BOTH, "another was promoted")],
)
def test_no_replica_is_excused_that_may_lead_elsewhere(now: MasterStanding) -> None:
    assert lagging().heard(now, Lag(100, {OTHER: 100}), 99.0).excused == frozenset()


def test_a_replica_that_caught_up_must_confirm_again() -> None:
    excused = msgspec.structs.replace(SURE, excused=frozenset({ONE}))
    assert excused.heard(STANDING, BEHIND, 30.0).excused == {ONE}
    assert excused.heard(STANDING, Lag(100, {ONE: 100, OTHER: 100}), 30.0).excused == frozenset()


def test_nothing_is_known_about_another_master() -> None:
    excused = msgspec.structs.replace(SURE, excused=frozenset({ONE}), doubted_since=1.0)
    after = excused.heard(MasterStanding("next", BOTH), Lag(5, {OTHER: 5}), 2.0)
    assert after == Confidence("next", frozenset({OTHER}))


def test_the_doubt_lasts_from_its_first_sign() -> None:
    first = SURE.doubting(5.0)
    assert first.doubting(6.0).doubted_since == 5.0
    alone = SURE.alone(5.0)
    assert alone.alone(6.0, refusing=True).alone_s(7.0) == 2.0
    assert alone.certain().alone_s(7.0) == 0.0


def test_the_offsets_of_replicas_are_read_from_the_masters_role() -> None:
    before = [b"master", 500, []]
    after = [b"master", 700, [[b"10.0.0.2", b"6379", b"500"], [b"10.0.0.3", b"6379", b"499"]]]
    lag = lag_of(before, after)
    assert lag == Lag(500, {ONE: 500, OTHER: 499})
    assert lag.caught_up() == {ONE}
