"""Which node is the master: told by the nodes themselves, by the Sentinels, and by what was seen before."""

from __future__ import annotations

from registry_core.store.redis.choice import Promotion, Sighting, Vote, choose, newest, promoted_since, to_repoint
from registry_core.store.redis.url import ServerAddress

A, B, C = (ServerAddress("10.0.0.1", port) for port in (1, 2, 3))
MASTER, REPLICA = Sighting(True, "run"), Sighting(False, "run")


def test_the_sentinels_word_alone_makes_no_master() -> None:
    assert choose(None, True, {A: REPLICA, B: REPLICA}, {}, [Vote(A, 1)]) is None
    assert choose(None, True, {}, {}, [Vote(A, 1)]) is None


def test_a_node_that_agrees_with_the_sentinels_is_the_master() -> None:
    assert choose(None, True, {A: MASTER, B: REPLICA}, {}, [Vote(A, 1)]) == A


def test_the_newest_word_of_the_sentinels_counts() -> None:
    votes = [Vote(A, 1), Vote(B, 2), Vote(A, 1)]
    assert newest(votes) == Vote(B, 2)
    assert newest([]) is None
    assert choose(A, False, {A: MASTER, B: MASTER}, {}, votes) == B


def test_a_node_that_calls_itself_master_without_anybody_having_seen_its_promotion_is_none() -> None:
    assert choose(None, True, {B: MASTER}, {}, [Vote(A, 1)]) is None


def test_a_promoted_replica_is_taken_before_the_sentinels_say_so() -> None:
    assert choose(A, True, {B: MASTER, C: REPLICA}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == B
    assert choose(None, False, {B: MASTER, C: REPLICA}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == B
    assert choose(None, True, {B: MASTER}, {B: Promotion(1, 0)}, []) == B


def test_a_replica_that_somebody_detached_takes_nothing_from_a_healthy_master() -> None:
    assert choose(A, False, {A: MASTER, B: MASTER}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == A


def test_an_old_master_that_comes_back_before_the_sentinels_have_spoken_is_not_believed() -> None:
    assert choose(B, False, {A: MASTER, B: MASTER}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == B
    assert choose(None, True, {A: MASTER, B: MASTER}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == B


def test_a_newer_word_of_the_sentinels_goes_before_a_promotion() -> None:
    seen = {A: MASTER, B: MASTER}
    assert choose(B, False, seen, {B: Promotion(1, 1)}, [Vote(A, 2)]) == A
    assert choose(B, True, seen, {B: Promotion(1, 1)}, [Vote(A, 2)]) == A


def test_of_two_promoted_ones_the_later_is_the_master() -> None:
    seen = {B: MASTER, C: MASTER}
    assert choose(B, True, seen, {B: Promotion(1, 1), C: Promotion(2, 2)}, []) == C


def test_without_a_word_of_the_sentinels_the_master_stays_who_it_is() -> None:
    assert choose(A, False, {A: MASTER, B: REPLICA}, {}, []) == A
    assert choose(A, True, {A: MASTER}, {}, [Vote(C, 1)]) == A
    assert choose(A, False, {A: REPLICA}, {}, []) is None


# -- who is told to follow the new master before the Sentinels get round to it

NEW, OLD_ONE, THIRD = ServerAddress("10.0.0.1", 1), ServerAddress("10.0.0.2", 1), ServerAddress("10.0.0.3", 1)
LEADS = Sighting(True, "run")


def follows(master: ServerAddress) -> Sighting:
    return Sighting(False, "run", master=master)


def repointed(sightings: dict[ServerAddress, Sighting], *votes: Vote) -> ServerAddress | None:
    return to_repoint(NEW, {NEW: LEADS, **sightings}, votes, sentinels=3)


AGREED = Vote(NEW, 2, (OLD_ONE, THIRD))


def test_a_replica_of_the_old_master_is_repointed_when_the_leading_sentinel_has_named_the_new_one() -> None:
    naming = Vote(OLD_ONE, 1, (NEW, THIRD), promoted=NEW)
    assert repointed({THIRD: follows(OLD_ONE)}, naming) == THIRD
    assert repointed({THIRD: follows(OLD_ONE)}, Vote(OLD_ONE, 1, (NEW, THIRD))) is None
    assert repointed({THIRD: follows(NEW)}, naming) is None


def test_a_master_of_before_is_repointed_when_all_sentinels_name_the_new_one_and_it_has_no_replica() -> None:
    assert repointed({OLD_ONE: LEADS}, AGREED, AGREED) == OLD_ONE
    assert repointed({OLD_ONE: LEADS}, AGREED) is None, "one of three is not most of them"
    assert repointed({OLD_ONE: LEADS}, AGREED, Vote(OLD_ONE, 1, (NEW,)), AGREED) is None, "they do not agree yet"
    assert repointed({OLD_ONE: LEADS, THIRD: follows(NEW)}, AGREED, AGREED) is None, "it has a replica"
    assert repointed({OLD_ONE: LEADS}, Vote(NEW, 2, ()), Vote(NEW, 2, ())) is None, "no node of theirs"


# -- a sign of another master


def test_a_node_that_was_promoted_after_the_present_master_is_a_sign_of_another() -> None:
    promotions = {NEW: Promotion(1, 1), THIRD: Promotion(2, 1)}
    assert promoted_since(NEW, {NEW, THIRD}, promotions, [Vote(NEW, 1)]) == THIRD
    assert promoted_since(NEW, {NEW}, promotions, [Vote(NEW, 1)]) is None, "it says so no more"
    assert promoted_since(THIRD, {NEW, THIRD}, promotions, [Vote(NEW, 1)]) is None
    assert promoted_since(OLD_ONE, {OLD_ONE, THIRD}, {THIRD: Promotion(1, 1)}, []) == THIRD


def test_one_that_the_sentinels_have_passed_over_since_is_none() -> None:
    promotions = {THIRD: Promotion(1, 1)}
    assert promoted_since(NEW, {NEW, THIRD}, promotions, [Vote(NEW, 2)]) is None
    assert promoted_since(NEW, {NEW, THIRD}, promotions, [Vote(THIRD, 2)]) == THIRD
