"""Which draining instances SRV answers still name, and from when on they do not."""

from __future__ import annotations

from agent.view.draining import DrainingInstances
from registry_core.domain.catalog import Catalog
from registry_core.domain.records import Status
from tests.samples import instance, lived

ONE, OTHER = (instance(port=port, status=Status.DRAINING) for port in (8034, 8035))
PASSING = instance(port=8034)


def test_an_instance_that_drains_leaves_when_its_time_is_up() -> None:
    draining = DrainingInstances(1.5)
    draining.note(ONE.key, Status.DRAINING, 10.0)
    assert (draining.leave(11.4), draining.has_left(ONE.key)) == (set(), False)
    assert (draining.leave(11.5), draining.has_left(ONE.key)) == ({"ip-intel"}, True)
    assert draining.leave(12.0) == set(), "it is told once"


def test_to_hear_of_a_drain_again_does_not_begin_it_again() -> None:
    draining = DrainingInstances(1.5)
    for now in (10.0, 11.0, 11.9):
        draining.note(ONE.key, Status.DRAINING, now)
        draining.leave(now)
    assert draining.has_left(ONE.key)


def test_an_instance_that_comes_back_and_drains_again_has_its_time_again() -> None:
    draining = DrainingInstances(1.5)
    draining.note(ONE.key, Status.DRAINING, 10.0)
    draining.leave(20.0)
    draining.note(ONE.key, Status.PASSING, 21.0)
    assert not draining.has_left(ONE.key)
    draining.note(ONE.key, Status.DRAINING, 22.0)
    assert draining.leave(23.0) == set()
    assert draining.leave(24.0) == {"ip-intel"}


def test_a_snapshot_keeps_the_time_of_who_drained_before_it_and_forgets_who_no_longer_does() -> None:
    draining, catalog = DrainingInstances(1.5), Catalog()
    for drains in (ONE, OTHER):
        draining.note(drains.key, Status.DRAINING, 10.0)
    catalog.merge([lived(ONE), lived(instance("billing", status=Status.DRAINING))])
    draining.settle(catalog.labels(), catalog, 11.0)
    assert draining.leave(11.5) == {"ip-intel"}
    assert (draining.has_left(ONE.key), draining.has_left(OTHER.key)) == (True, False)
    assert draining.leave(12.5) == {"billing"}
    catalog.merge([lived(PASSING)])
    draining.prune(catalog)
    assert not draining.has_left(ONE.key)


def test_who_drained_before_its_service_was_read_has_left() -> None:
    draining, catalog = DrainingInstances(1.5), Catalog()
    catalog.merge([lived(ONE), lived(OTHER), lived(instance(port=8036))])
    draining.note(OTHER.key, Status.DRAINING, 10.0)
    draining.settle(catalog.labels(), catalog, 10.0, held=False)
    draining.note(ONE.key, Status.DRAINING, 10.0)
    assert [draining.has_left(key) for key in (ONE.key, OTHER.key, instance(port=8036).key)] == [True, False, False]
    draining.note(ONE.key, Status.PASSING, 11.0)
    assert not draining.has_left(ONE.key)


def test_a_shorter_time_holds_for_those_who_drain_already() -> None:
    draining = DrainingInstances(1.5)
    draining.note(ONE.key, Status.DRAINING, 10.0)
    draining.shown_s = 0.5
    assert draining.leave(10.5) == {"ip-intel"}
