"""Why a shard has no master, in words, and which faults will not pass by themselves."""

from __future__ import annotations

import pytest

from registry_core.store.redis.choice import Sighting, Vote
from registry_core.store.redis.diagnosis import NO_ANSWER_YET, lasting_fault, why_no_master
from registry_core.store.redis.probes import Fault
from registry_core.store.redis.url import ServerAddress

A, B = ServerAddress("10.0.0.1", 6379), ServerAddress("10.0.0.2", 6379)
S1, S2 = ServerAddress("10.0.0.8", 26379), ServerAddress("fd00::9", 26379)
MASTER = Sighting(is_master=True, run_id="m")
REPLICA = Sighting(is_master=False, run_id="r", master=A)
AWAY = Fault("it does not answer")
WRONG = Fault("it wants other credentials", lasting=True)


def test_without_answers_no_server_reports_itself_as_the_master() -> None:
    assert why_no_master({}, {}) == "no server reports itself as the master"


def test_servers_without_a_fault_are_not_named() -> None:
    assert why_no_master({S1: Vote(A, 3)}, {A: MASTER}) == "no server reports itself as the master"


def test_each_fault_is_named_with_its_server_sentinels_first() -> None:
    why = why_no_master({S1: AWAY, S2: WRONG}, {A: NO_ANSWER_YET})
    assert why == (
        "sentinel 10.0.0.8:26379: it does not answer; sentinel [fd00::9]:26379: it wants other credentials; "
        "redis 10.0.0.1:6379: it has not been asked yet"
    )


def test_a_replica_is_named_after_the_faults() -> None:
    why = why_no_master({S1: Vote(A, 3)}, {A: REPLICA, B: AWAY})
    assert why == "redis 10.0.0.2:6379: it does not answer; redis 10.0.0.1:6379: it is a replica"


def test_without_sentinels_a_configured_node_may_be_permanently_wrong() -> None:
    assert lasting_fault({}, {A: WRONG}, [A]) == "redis 10.0.0.1:6379: it wants other credentials"
    assert lasting_fault({}, {A: REPLICA}, [A]) == "redis 10.0.0.1:6379: it is a replica and takes no writes"


@pytest.mark.parametrize("said", [AWAY, NO_ANSWER_YET, MASTER])
def test_a_transient_fault_is_not_a_wrong_setting(said: Sighting | Fault) -> None:
    assert lasting_fault({}, {A: said}, [A]) == ""


def test_a_node_that_was_not_asked_is_not_judged() -> None:
    assert lasting_fault({}, {}, [A]) == ""
    assert lasting_fault({}, {}, []) == ""


def test_nodes_that_are_not_configured_are_not_judged() -> None:
    assert lasting_fault({}, {A: MASTER, B: WRONG}, [A]) == ""


def test_the_first_wrong_node_of_several_is_named() -> None:
    assert lasting_fault({}, {A: AWAY, B: WRONG}, [A, B]) == "redis 10.0.0.2:6379: it wants other credentials"
    assert lasting_fault({}, {A: REPLICA, B: WRONG}, [B, A]) == "redis 10.0.0.2:6379: it wants other credentials"


def test_a_refusal_by_all_sentinels_is_a_wrong_setting() -> None:
    assert lasting_fault({S1: WRONG, S2: WRONG}, {}, []) == "sentinel 10.0.0.8:26379: it wants other credentials"
    assert lasting_fault({S1: AWAY, S2: WRONG}, {}, []) == "sentinel [fd00::9]:26379: it wants other credentials"


def test_unreachable_sentinels_may_come_back() -> None:
    assert lasting_fault({S1: AWAY, S2: AWAY}, {}, []) == ""


def test_there_is_no_diagnosis_before_every_sentinel_was_asked() -> None:
    assert lasting_fault({S1: WRONG, S2: NO_ANSWER_YET}, {}, []) == ""
    # A peer with equal settings that was asked counts as asked.
    assert lasting_fault({S1: WRONG, S2: Fault(NO_ANSWER_YET.reason)}, {}, []) != ""


def test_one_vote_outweighs_sentinels_that_refuse() -> None:
    assert lasting_fault({S1: WRONG, S2: Vote(A, 3)}, {A: MASTER}, []) == ""


def test_the_node_in_the_newest_vote_is_judged() -> None:
    sentinels = {S1: Vote(A, 3), S2: Vote(B, 4)}
    assert lasting_fault(sentinels, {A: WRONG, B: MASTER}, [A]) == ""
    assert lasting_fault(sentinels, {A: MASTER, B: WRONG}, []) == "redis 10.0.0.2:6379: it wants other credentials"


def test_a_replica_named_by_sentinels_is_about_to_be_promoted() -> None:
    assert lasting_fault({S1: Vote(A, 3)}, {A: REPLICA}, []) == ""
