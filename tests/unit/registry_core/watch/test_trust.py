"""How far a view is trusted: what may be dropped, how old it is, and what to do about it."""

from __future__ import annotations

import itertools

import pytest

from registry_core.domain.events import Position
from registry_core.watch.changes import Moved, Replaced, Synced
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.trust import READY, RESYNC_EVERY_S, SETTLE_S, SILENT_AFTER_S, Advice, ViewTrust
from tests.watch_lines import at

WARMING = "warming"
NOWHERE = Cursor()
HERE = cursor_of([at(5)])


def everything(*positions: Position, state: str = READY, whole: bool = True) -> Replaced:
    return Replaced((), cursor_of(positions or [at(6)]), "d", state, "start", whole=whole)


def sign(
    state: str = READY, *, digest: str = "d", store_age_s: float | None = 0.0, unread: tuple[str, ...] = ()
) -> Synced:
    return Synced(HERE, digest, state, store_age_s, unread)


def ready(now: float = 100.0) -> ViewTrust:
    """Return the trust in a view that has just been read completely from a ready registry."""
    trust = ViewTrust(now)
    trust.heard(now)
    assert trust.replaced(everything(), NOWHERE, dropped=True, whole=True) is Advice.NOTHING
    trust.taken()
    return trust


# -- what may be dropped


def test_a_complete_snapshot_of_a_ready_registry_may_remove() -> None:
    assert ViewTrust(0.0).may_drop(everything(), NOWHERE)
    assert ViewTrust(0.0).may_drop(everything(at(4)), HERE), "an older position in the same history"
    assert ViewTrust(0.0).may_drop(everything(at(9)), HERE)


@pytest.mark.parametrize("state", [WARMING, "", "resting"])
def test_a_registry_that_is_not_ready_removes_nothing(state: str) -> None:
    assert not ViewTrust(0.0).may_drop(everything(state=state), HERE)


def test_an_unreadable_record_is_not_gone() -> None:
    assert not ViewTrust(0.0).may_drop(everything(whole=False), HERE)


def test_a_new_history_removes_nothing() -> None:
    assert not ViewTrust(0.0).may_drop(everything(at(9, "e2")), HERE)
    assert ViewTrust(0.0).may_drop(everything(at(9, "e2")), NOWHERE), "no other history was read"


def test_one_shard_with_a_new_history_is_enough() -> None:
    before = cursor_of([at(5), at(7, "f1", 1)])
    assert ViewTrust(0.0).may_drop(everything(at(5), at(8, "f1", 1)), before)
    assert not ViewTrust(0.0).may_drop(everything(at(5), at(1, "f2", 1)), before)


def test_an_added_or_removed_shard_is_no_new_history() -> None:
    assert ViewTrust(0.0).may_drop(everything(at(5), at(1, "f1", 1)), HERE)
    assert ViewTrust(0.0).may_drop(everything(at(5)), cursor_of([at(5), at(7, "f1", 1)]))


# -- the state of the registry


def test_before_anything_was_read_nothing_is_known() -> None:
    trust = ViewTrust(100.0)
    assert (trust.state, trust.live, trust.whole, trust.knows_all) == ("", False, False, False)


def test_a_missing_name_counts_only_in_a_complete_ready_registry() -> None:
    for state, whole, unread in itertools.product((READY, WARMING), (True, False), ((), ("a",))):
        trust = ready()
        trust.synced(sign(state, unread=unread), whole=whole)
        assert trust.knows_all is (state == READY and whole and not unread)


def test_the_unread_shards_are_those_of_the_last_sync() -> None:
    trust = ready()
    trust.synced(sign(unread=("a", "b")), whole=True)
    assert list(trust.unread) == ["a", "b"]
    trust.synced(sign(), whole=True)
    assert list(trust.unread) == []


def test_a_lagging_replica_changes_nothing() -> None:
    for was in (True, False):
        trust = ready()
        trust.synced(sign(), whole=was)
        assert trust.synced(sign(digest=""), whole=not was) is Advice.NOTHING
        assert trust.whole is was


def test_a_replica_that_has_read_nothing_confirms_nothing() -> None:
    trust = ready()
    trust.synced(sign(digest="", store_age_s=None), whole=True)
    assert not trust.whole


# -- the age


def test_before_the_first_snapshot_the_view_is_as_old_as_the_agent() -> None:
    trust = ViewTrust(100.0)
    assert trust.age_s(100.0) == 0.0
    assert trust.age_s(107.5) == 7.5


def test_a_view_with_a_live_watch_has_no_age() -> None:
    trust = ready(100.0)
    assert trust.age_s(100.0) == 0.0
    assert trust.age_s(100.0 + SILENT_AFTER_S) == 0.0


def test_a_silent_watch_ages_from_its_last_line() -> None:
    trust = ready(100.0)
    assert trust.age_s(100.5 + SILENT_AFTER_S) == SILENT_AFTER_S + 0.5


def test_a_lost_watch_ages_at_once() -> None:
    trust = ready(100.0)
    trust.live = False
    assert trust.age_s(103.0) == 3.0


def test_a_line_confirms_only_a_complete_view() -> None:
    trust = ready(100.0)
    trust.heard(104.0)
    trust.synced(sign(), whole=False)
    trust.taken()
    assert trust.age_s(106.0) == 6.0
    trust.heard(108.0)
    trust.synced(sign(), whole=True)
    trust.taken()
    assert trust.age_s(109.0) == 0.0


def test_the_age_of_the_registrys_own_view_counts() -> None:
    trust = ready(100.0)
    trust.heard(105.0)
    trust.synced(sign(store_age_s=30.0), whole=True)
    trust.taken()
    assert trust.age_s(105.0) == trust.age_s(106.0) == 30.0
    trust.live = False
    assert trust.age_s(106.0) == 31.0


def test_a_registry_clock_in_the_future_makes_nothing_younger() -> None:
    trust = ready(100.0)
    trust.synced(sign(store_age_s=-50.0), whole=True)
    trust.taken()
    trust.live = False
    assert trust.age_s(100.0) == 0.0
    assert trust.age_s(101.0) == 1.0


def test_a_stored_view_keeps_its_age() -> None:
    trust = ViewTrust(100.0)
    trust.aged(400.0, 100.0)
    assert trust.age_s(101.0) == 401.0


def test_a_time_before_the_last_line_gives_age_zero() -> None:
    trust = ready(100.0)
    trust.live = False
    assert trust.age_s(99.0) == 0.0


# -- advice


@pytest.mark.parametrize(
    ("before", "now", "advice"),
    [
        ("", READY, Advice.NOTHING),
        ("", WARMING, Advice.REASSERT),
        (READY, READY, Advice.NOTHING),
        (READY, WARMING, Advice.REASSERT),
        (WARMING, WARMING, Advice.NOTHING),
        (WARMING, READY, Advice.NOTHING),
    ],
)
def test_a_registry_that_has_just_started_is_told_again_once(before: str, now: str, advice: Advice) -> None:
    trust = ViewTrust(100.0)
    trust.state = before
    assert trust.replaced(everything(state=now), HERE, dropped=False, whole=False) is advice
    assert (trust.state, trust.live, trust.whole) == (now, True, False)


def test_a_new_history_is_told_again_even_when_it_is_ready() -> None:
    trust = ready()
    assert trust.replaced(everything(at(1, "e2")), HERE, dropped=False, whole=True) is Advice.REASSERT


def test_a_move_is_answered_by_registering_again() -> None:
    trust = ready()
    assert trust.moved(Moved((), HERE, "d", READY), whole=True) is Advice.REASSERT
    assert (trust.state, trust.live, trust.whole) == (READY, True, True)


def test_a_sync_from_a_registry_that_lost_records_triggers_one_new_registration() -> None:
    trust = ready()
    assert trust.synced(sign(WARMING), whole=False) is Advice.REASSERT
    assert trust.synced(sign(WARMING), whole=False) is Advice.NOTHING


def test_a_view_with_a_wrong_digest_is_read_again_and_then_left_alone_for_a_while() -> None:
    trust = ready(100.0)
    assert trust.synced(sign(), whole=False) is Advice.RESYNC
    trust.heard(100.0 + RESYNC_EVERY_S - 0.1)
    assert trust.synced(sign(), whole=False) is Advice.NOTHING
    trust.heard(100.0 + RESYNC_EVERY_S)
    assert trust.synced(sign(), whole=False) is Advice.RESYNC
    assert trust.mismatches == 2


def test_a_view_whose_digest_was_right_in_between_is_read_again_at_once() -> None:
    trust = ready(100.0)
    assert trust.synced(sign(), whole=False) is Advice.RESYNC
    assert trust.synced(sign(), whole=True) is Advice.NOTHING
    assert trust.synced(sign(), whole=False) is Advice.RESYNC


def test_a_warming_registry_is_no_reason_to_read_again() -> None:
    trust = ViewTrust(100.0)
    trust.replaced(everything(state=WARMING), HERE, dropped=False, whole=False)
    trust.heard(1e6)
    assert trust.synced(sign(WARMING), whole=False) is Advice.NOTHING
    assert trust.mismatches == 0


def test_records_kept_through_a_loss_are_read_again_when_the_registry_is_ready() -> None:
    trust = ready(100.0)
    trust.replaced(everything(at(1, "e2"), state=WARMING), HERE, dropped=False, whole=False)
    assert trust.synced(sign(), whole=False) is Advice.RESYNC, "at once"
    assert trust.mismatches == 0, "as expected"


def test_a_new_history_without_a_warming_state_gets_time() -> None:
    trust = ready(100.0)
    trust.replaced(everything(at(1, "e2")), HERE, dropped=False, whole=False)
    trust.heard(100.0 + SETTLE_S - 0.1)
    assert trust.synced(sign(), whole=False) is Advice.NOTHING
    trust.heard(100.0 + SETTLE_S)
    assert trust.synced(sign(), whole=False) is Advice.RESYNC


def test_a_move_with_a_wrong_digest_gets_time() -> None:
    trust = ready(100.0)
    trust.moved(Moved((), HERE, "d", READY), whole=False)
    assert trust.synced(sign(), whole=False) is Advice.NOTHING
    trust.heard(100.0 + SETTLE_S)
    assert trust.synced(sign(), whole=False) is Advice.RESYNC


def test_a_running_reading_gets_time_and_shortens_none() -> None:
    trust = ready(100.0)
    trust.unsettled()
    trust.heard(100.0 + SETTLE_S - 0.1)
    assert trust.synced(sign(), whole=False) is Advice.NOTHING
    trust.heard(100.0 + SETTLE_S)
    assert trust.synced(sign(), whole=False) is Advice.RESYNC
    trust.unsettled()
    trust.heard(100.0 + 2 * SETTLE_S)
    assert trust.synced(sign(), whole=False) is Advice.NOTHING, "the pause after a resync is longer"


def test_a_sync_without_a_digest_requests_nothing() -> None:
    trust = ready(100.0)
    assert trust.synced(sign(digest="", store_age_s=None), whole=False) is Advice.NOTHING
    assert trust.mismatches == 0
