"""Which node is the master: decided from the nodes, the Sentinels, and what was seen before."""

from __future__ import annotations

from registry_core.store.redis.choice import Promotion, Sighting, Vote, choose, newest, promoted_since, to_repoint
from registry_core.store.redis.url import ServerAddress

A, B, C = (ServerAddress("10.0.0.1", port) for port in (1, 2, 3))
MASTER, REPLICA = Sighting(True, "run"), Sighting(False, "run")


def test_a_vote_of_sentinels_alone_makes_no_master() -> None:
    assert choose(None, True, {A: REPLICA, B: REPLICA}, {}, [Vote(A, 1)]) is None
    assert choose(None, True, {}, {}, [Vote(A, 1)]) is None


def test_a_node_that_agrees_with_the_sentinels_is_the_master() -> None:
    assert choose(None, True, {A: MASTER, B: REPLICA}, {}, [Vote(A, 1)]) == A


def test_the_newest_vote_of_the_sentinels_counts() -> None:
    votes = [Vote(A, 1), Vote(B, 2), Vote(A, 1)]
    assert newest(votes) == Vote(B, 2)
    assert newest([]) is None
    assert choose(A, False, {A: MASTER, B: MASTER}, {}, votes) == B


def test_a_claimed_master_without_a_witnessed_promotion_is_none() -> None:
    assert choose(None, True, {B: MASTER}, {}, [Vote(A, 1)]) is None


def test_a_promoted_replica_is_accepted_before_the_sentinels_name_it() -> None:
    assert choose(A, True, {B: MASTER, C: REPLICA}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == B
    assert choose(None, False, {B: MASTER, C: REPLICA}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == B
    assert choose(None, True, {B: MASTER}, {B: Promotion(1, 0)}, []) == B


def test_a_detached_replica_does_not_replace_a_healthy_master() -> None:
    assert choose(A, False, {A: MASTER, B: MASTER}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == A


def test_an_old_master_that_returns_before_the_sentinels_vote_is_not_believed() -> None:
    assert choose(B, False, {A: MASTER, B: MASTER}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == B
    assert choose(None, True, {A: MASTER, B: MASTER}, {B: Promotion(1, 1)}, [Vote(A, 1)]) == B


def test_a_newer_vote_of_the_sentinels_outranks_a_promotion() -> None:
    seen = {A: MASTER, B: MASTER}
    assert choose(B, False, seen, {B: Promotion(1, 1)}, [Vote(A, 2)]) == A
    assert choose(B, True, seen, {B: Promotion(1, 1)}, [Vote(A, 2)]) == A


def test_the_later_of_two_promoted_replicas_is_the_master() -> None:
    seen = {B: MASTER, C: MASTER}
    assert choose(B, True, seen, {B: Promotion(1, 1), C: Promotion(2, 2)}, []) == C


def test_without_a_vote_of_the_sentinels_the_master_stays() -> None:
    assert choose(A, False, {A: MASTER, B: REPLICA}, {}, []) == A
    assert choose(A, True, {A: MASTER}, {}, [Vote(C, 1)]) == A
    assert choose(A, False, {A: REPLICA}, {}, []) is None


# -- which nodes are repointed to the new master before the Sentinels do it

NEW, OLD_ONE, THIRD = ServerAddress("10.0.0.1", 1), ServerAddress("10.0.0.2", 1), ServerAddress("10.0.0.3", 1)
LEADS = Sighting(True, "run")


def follows(master: ServerAddress) -> Sighting:
    return Sighting(False, "run", master=master)


def repointed(sightings: dict[ServerAddress, Sighting], *votes: Vote) -> ServerAddress | None:
    return to_repoint(NEW, {NEW: LEADS, **sightings}, votes, sentinels=3)


AGREED = Vote(NEW, 2, (OLD_ONE, THIRD))


def test_a_replica_of_the_old_master_is_repointed_when_the_leading_sentinel_names_the_new_one() -> None:
    naming = Vote(OLD_ONE, 1, (NEW, THIRD), promoted=NEW)
    assert repointed({THIRD: follows(OLD_ONE)}, naming) == THIRD
    assert repointed({THIRD: follows(OLD_ONE)}, Vote(OLD_ONE, 1, (NEW, THIRD))) is None
    assert repointed({THIRD: follows(NEW)}, naming) is None


def test_a_former_master_without_replicas_is_repointed_when_all_sentinels_name_the_new_one() -> None:
    assert repointed({OLD_ONE: LEADS}, AGREED, AGREED) == OLD_ONE
    assert repointed({OLD_ONE: LEADS}, AGREED) is None, "one of three is no majority"
    assert repointed({OLD_ONE: LEADS}, AGREED, Vote(OLD_ONE, 1, (NEW,)), AGREED) is None, "they do not agree yet"
    assert repointed({OLD_ONE: LEADS, THIRD: follows(NEW)}, AGREED, AGREED) is None, "it has a replica"
    assert repointed({OLD_ONE: LEADS}, Vote(NEW, 2, ()), Vote(NEW, 2, ())) is None, "not one of their nodes"


# -- a sign of another master


def test_a_node_that_was_promoted_after_the_present_master_is_a_sign_of_another() -> None:
    promotions = {NEW: Promotion(1, 1), THIRD: Promotion(2, 1)}
    assert promoted_since(NEW, {NEW, THIRD}, promotions, [Vote(NEW, 1)]) == THIRD
    assert promoted_since(NEW, {NEW}, promotions, [Vote(NEW, 1)]) is None, "it no longer claims it"
    assert promoted_since(THIRD, {NEW, THIRD}, promotions, [Vote(NEW, 1)]) is None
    assert promoted_since(OLD_ONE, {OLD_ONE, THIRD}, {THIRD: Promotion(1, 1)}, []) == THIRD


def test_a_promotion_that_the_sentinels_have_overruled_is_no_sign() -> None:
    promotions = {THIRD: Promotion(1, 1)}
    assert promoted_since(NEW, {NEW, THIRD}, promotions, [Vote(NEW, 2)]) is None
    assert promoted_since(NEW, {NEW, THIRD}, promotions, [Vote(THIRD, 2)]) == THIRD
