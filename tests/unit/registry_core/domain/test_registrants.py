"""Which instance a heartbeat that names only its service renews."""

from __future__ import annotations

from registry_core.domain import registrants
from registry_core.domain.registrants import Origin, Registrants
from tests.samples import instance

HERE, THERE = Origin("10.0.0.1"), Origin("10.0.0.2")
ONE, OTHER = instance(port=8001), instance(port=8002)
BOTH = (ONE, OTHER)
EVERY_S = 30.0


def known(**registered: Origin) -> Registrants:
    """Return what a replica knows after these registrations, by the instance's name above."""
    found = Registrants(EVERY_S)
    for name, origin in registered.items():
        found.registered({"one": ONE, "other": OTHER}[name], origin, 0.0)
    return found


def test_each_client_renews_what_it_registered() -> None:
    replica = known(one=HERE, other=THERE)
    assert replica.beaten(HERE, BOTH, 0.0) == ONE.key
    assert replica.beaten(THERE, BOTH, 1.0) == OTHER.key


def test_a_client_that_registered_nothing_registers_again_even_beside_a_sole_instance() -> None:
    assert known(one=HERE).beaten(THERE, (ONE,), 0.0) is None
    assert known().beaten(HERE, (), 0.0) is None


def test_nothing_is_certain_while_another_instance_was_registered_elsewhere() -> None:
    replica = known(one=HERE)
    assert replica.beaten(HERE, BOTH, 0.0) is None
    replica.registered(OTHER, THERE, 0.0)
    assert replica.beaten(HERE, BOTH, 0.0) == ONE.key


def test_instances_of_agents_do_not_make_it_uncertain_and_are_never_meant() -> None:
    of_an_agent = instance(port=8002, epoch=1764000000000)
    assert known(one=HERE).beaten(HERE, (ONE, of_an_agent), 0.0) == ONE.key
    assert known().beaten(HERE, (of_an_agent,), 0.0) is None


def test_clients_that_share_an_address_register_again_each_time() -> None:
    replica = known(one=HERE, other=HERE)
    assert replica.beaten(HERE, BOTH, 0.0) is None
    assert replica.own(HERE, BOTH) is None


def test_clients_behind_one_proxy_are_told_apart_by_what_it_reports() -> None:
    behind, beside = Origin("10.0.0.9", "10.0.0.1"), Origin("10.0.0.9", "10.0.0.2")
    replica = known(one=behind, other=beside)
    assert replica.beaten(beside, BOTH, 0.0) == OTHER.key


def test_heartbeats_that_come_too_often_for_one_client_make_both_register_again() -> None:
    replica = known(one=HERE)  # the other's registration is lost, and it shares the address
    assert replica.beaten(HERE, (ONE,), 15.0) == ONE.key  # it is the other's
    assert replica.beaten(HERE, (ONE,), 30.0) is None
    replica.registered(ONE, HERE, 30.0)
    assert replica.beaten(HERE, (ONE,), 45.0) is None
    replica.registered(OTHER, HERE, 45.0)
    assert replica.beaten(HERE, BOTH, 60.0) is None


def test_one_client_that_is_faster_than_asked_registers_again_only_until_its_interval_is_known() -> None:
    replica = known(one=HERE)
    refused = []
    for at in range(10, 200, 10):
        if replica.beaten(HERE, (ONE,), float(at)) is None:
            refused.append(at)
            replica.registered(ONE, HERE, float(at))
    # The second one looks like another client's, which would register within a minute.
    assert refused == [20, 30, 40, 50, 60, 70]
    assert replica.beaten(HERE, (ONE,), 195.0) is None  # another one's


def test_a_heartbeat_right_after_a_registration_is_by_the_same_client() -> None:
    replica = known(one=HERE)
    for at in (40.0, 80.0):
        replica.registered(ONE, HERE, at)
        assert replica.beaten(HERE, (ONE,), at + 1.0) == ONE.key
    assert replica.beaten(HERE, (ONE,), 110.0) == ONE.key
    assert replica.beaten(HERE, (ONE,), 111.0) is None  # after a heartbeat, it is not


def test_an_agent_that_took_an_instance_over_is_its_newer_owner() -> None:
    replica, of_an_agent = known(one=HERE), instance(port=8001, epoch=1764000000000)
    assert replica.succeeded(HERE, of_an_agent)
    assert not replica.succeeded(HERE, ONE)
    assert not replica.succeeded(THERE, of_an_agent)


def test_the_number_of_known_registrants_is_bounded() -> None:
    replica = known(one=HERE)
    for number in range(registrants.MAX_KNOWN):
        replica.registered(instance("billing", port=number), THERE, 0.0)
    assert replica.beaten(HERE, (ONE,), 0.0) is None
    assert replica.beaten(THERE, (instance("billing", port=0),), 0.0) == instance("billing", port=0).key
