"""Where acknowledgements of foreign watchers go: to one peer, and never to many for an invented id."""

from __future__ import annotations

import contextlib

import pytest

from registry_core.api.ack_routes import MAX_UNDER_WAY, TO_ALL, AckRoutes, watcher_id
from registry_core.errors import Overloaded

OWN, OTHER = "0" * 16, "1" * 16
PEERS = ("http://10.0.0.2:8888", "http://10.0.0.3:8888")
NOW = 1000.0


def routes() -> AckRoutes:
    return AckRoutes(OWN, PEERS)


def test_an_acknowledgement_goes_to_all_until_one_is_known_to_have_that_replicas_watchers() -> None:
    known = routes()
    first, second = watcher_id(OTHER, "a" * 32), watcher_id(OTHER, "b" * 32)
    assert known.targets(first, NOW) == PEERS
    known.found(first, PEERS[1])
    assert known.targets(second, NOW) == (PEERS[1],)


@pytest.mark.parametrize(
    "watcher", ["", "x", "../../register", "a" * 31, "a" * 5000, f"{OTHER}-", f"{OTHER}-{'A' * 32}"]
)
def test_what_is_no_id_goes_nowhere(watcher: str) -> None:
    assert routes().targets(watcher, NOW) == ()


def test_an_id_of_this_replica_that_it_does_not_have_goes_nowhere() -> None:
    assert routes().targets(watcher_id(OWN, "a" * 32), NOW) == ()


def test_without_peers_there_is_nowhere_to_go() -> None:
    assert AckRoutes(OWN, ()).targets("a" * 32, NOW) == ()


def test_ids_of_the_release_before_go_to_all() -> None:
    known = routes()
    known.found("a" * 32, PEERS[0])
    assert known.targets("a" * 32, NOW) == PEERS


def test_invented_ids_reach_the_peers_so_many_times_a_second_and_known_replicas_stay_reachable() -> None:
    """The attack: each of them made this replica post to all its peers."""
    known = routes()
    known.found(watcher_id(OTHER, "a" * 32), PEERS[1])
    passed = 0
    for number in range(5000):
        with contextlib.suppress(Overloaded):
            passed += bool(known.targets(watcher_id(f"{number:016x}"[::-1].replace("0", "2"), "a" * 32), NOW))
    assert passed == TO_ALL.amount
    assert known.targets(watcher_id(OTHER, "b" * 32), NOW) == (PEERS[1],)


def test_only_so_many_are_under_way() -> None:
    known = routes()
    known.under_way = MAX_UNDER_WAY
    with pytest.raises(Overloaded):
        known.targets(watcher_id(OTHER, "a" * 32), NOW)
