"""The catalogue against a plain dictionary, over any history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, Renewed, StatusChanged
from registry_core.domain.names import short_id
from registry_core.domain.records import Instance, InstanceKey, Status
from tests.samples import instances, lived, with_status

AT = Position(0, "e", 0)
EVENTS = st.one_of(
    st.builds(Registered, st.just(AT), instances(), st.floats(0, 100)),
    st.builds(StatusChanged, st.just(AT), instances().map(lambda i: i.key), st.sampled_from(list(Status))),
    st.builds(Deregistered, st.just(AT), instances().map(lambda i: i.key)),
    st.builds(Expired, st.just(AT), instances().map(lambda i: i.key)),
    st.builds(Renewed, st.just(AT), instances().map(lambda i: i.key), st.floats(0, 100)),
)


def modelled(history: list[Event]) -> dict[InstanceKey, Instance]:
    model: dict[InstanceKey, Instance] = {}
    for event in history:
        match event:
            case Registered(instance=record):
                model[record.key] = record
            case StatusChanged(key=key, status=status):
                if key in model:
                    model[key] = with_status(model[key], status)
            case Deregistered(key=key) | Expired(key=key):
                model.pop(key, None)
            case Renewed():
                pass
    return model


@given(st.lists(EVENTS, max_size=40))
def test_the_catalogue_is_the_sum_of_its_events(history: list[Event]) -> None:
    catalog = Catalog()
    for event in history:
        catalog.apply(event)
    model = modelled(history)
    assert {i.key: i for i in catalog} == model
    assert len(catalog) == len(model)
    assert catalog.service_count == len({key.label for key in model})
    for key, record in model.items():
        assert catalog.get(key) == record
        assert catalog.by_short(short_id(record.service_name, record.instance_id)) == record
        assert all(record in catalog.by_ip(address) for address in record.addresses)
        service = catalog.find(record.service_name)
        assert service is not None
        assert [i.instance_id for i in service.instances] == sorted(
            k.instance_id for k in model if k.label == key.label
        )


@given(st.lists(EVENTS, max_size=40))
def test_equal_catalogues_have_equal_digests_whatever_their_history(history: list[Event]) -> None:
    catalog, fresh = Catalog(), Catalog()
    for event in history:
        catalog.apply(event)
    fresh.merge(lived(record) for record in reversed(list(modelled(history).values())))
    assert catalog.digest == fresh.digest


@given(st.lists(EVENTS, max_size=20), st.lists(EVENTS, max_size=20))
def test_different_catalogues_have_different_digests(one: list[Event], other: list[Event]) -> None:
    first, second = Catalog(), Catalog()
    for event in one:
        first.apply(event)
    for event in other:
        second.apply(event)
    assert (first.digest == second.digest) == (modelled(one) == modelled(other))


@given(st.lists(EVENTS, max_size=20), EVENTS)
def test_an_event_applied_twice_is_an_event_applied_once(history: list[Event], last: Event) -> None:
    catalog = Catalog()
    for event in [*history, last]:
        catalog.apply(event)
    before = (catalog.digest, len(catalog), sorted(i.address for i in catalog))
    assert catalog.apply(last) is None
    assert (catalog.digest, len(catalog), sorted(i.address for i in catalog)) == before


@given(st.lists(EVENTS, max_size=20), st.lists(instances(), max_size=10))
def test_replace_names_the_services_that_changed_and_no_others(history: list[Event], records: list[Instance]) -> None:
    catalog = Catalog()
    for event in history:
        catalog.apply(event)
    before = {label: catalog.find(label) for label in catalog.labels()}
    changed = catalog.replace(lived(r) for r in records)
    after = {label: catalog.find(label) for label in catalog.labels()}
    assert {i.key for i in catalog} == {r.key for r in records}
    assert changed == {label for label in before.keys() | after.keys() if before.get(label) != after.get(label)}
