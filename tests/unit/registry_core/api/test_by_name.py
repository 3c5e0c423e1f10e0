"""What a write means that names a service but no instance."""

from __future__ import annotations

import pytest

from registry_core.api.by_name import ByName
from registry_core.api.schemas import BeatBody, RegisterBody
from registry_core.domain.catalog import Catalog
from registry_core.domain.records import Instance, Service
from registry_core.domain.registrants import Origin
from registry_core.errors import AmbiguousInstance, Fenced
from registry_core.ports.store import Beat
from tests.samples import FakeClock, instance, lived

HERE, THERE = Origin("10.0.0.1"), Origin("10.0.0.2")
OWN, OTHER = instance(port=8001), instance(port=8002)
BY_NAME = BeatBody(service_name="ip_intel")


def replica(*instances: Instance) -> ByName:
    """Return a replica at which the first of these instances was registered from HERE, the others from THERE."""
    catalog = Catalog()
    catalog.merge(lived(one) for one in instances)
    by_name = ByName(catalog, FakeClock(), 30.0)
    for number, one in enumerate(instances):
        body = RegisterBody(service_name=one.service_name, host=one.host, port=one.port)
        by_name.registered(body, one, THERE if number else HERE)
    return by_name


def test_a_heartbeat_by_name_is_for_what_its_sender_registered() -> None:
    assert replica(OWN, OTHER).beat(BY_NAME, HERE) == Beat("ip_intel", OWN.instance_id)
    assert replica(OWN, OTHER).beat(BY_NAME, Origin("10.0.0.3")) is None
    assert replica().beat(BY_NAME, HERE) is None


def test_a_heartbeat_that_names_its_instance_or_its_epoch_is_left_alone() -> None:
    body = BeatBody(service_name="ip_intel", instance_id="a", epoch=5)
    assert replica(OWN).beat(body, THERE) == Beat("ip_intel", "a", 5)
    assert replica(OWN).beat(BeatBody(service_name="ip_intel", epoch=5), THERE) == Beat("ip_intel", None, 5)


def test_a_client_takes_out_the_sole_instance_or_its_own() -> None:
    assert replica(OWN).departing(Service("ip_intel", (OWN,)), THERE) == OWN.key
    both = Service("ip_intel", (OWN, OTHER))
    assert replica(OWN, OTHER).departing(both, HERE) == OWN.key
    with pytest.raises(AmbiguousInstance):
        replica(OWN, OTHER).departing(both, Origin("10.0.0.3"))


def test_a_client_does_not_take_out_what_an_agent_has_taken_over() -> None:
    of_an_agent = instance(port=8001, epoch=1764000000000)
    with pytest.raises(Fenced):
        replica(OWN).departing(Service("ip_intel", (of_an_agent,)), HERE)
