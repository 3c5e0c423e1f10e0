"""The catalogue: what lookups find after events, and what they no longer find."""

from __future__ import annotations

import msgspec

from registry_core.domain.catalog import Catalog, share
from registry_core.domain.events import Deregistered, Expired, Position, Registered, Renewed, StatusChanged
from registry_core.domain.names import short_id
from registry_core.domain.records import Protocol, Status
from tests.samples import instance, lived

AT = Position(0, "e1", 1)


def test_a_service_is_found_in_both_spellings() -> None:
    catalog = Catalog()
    assert catalog.apply(Registered(AT, instance("ip_intel"), 1.0)) == "ip-intel"
    for spelling in ("ip_intel", "ip-intel", "IP-Intel"):
        found = catalog.find(spelling)
        assert found is not None
        assert found.name == "ip_intel"
        assert [i.instance_id for i in found.instances] == ["10.0.0.7:8034"]
    assert catalog.names() == ["ip_intel"]
    assert list(catalog.labels()) == ["ip-intel"]
    assert catalog.service_count == 1


def test_an_instance_is_found_by_its_key_its_short_id_its_address_and_its_ip() -> None:
    catalog = Catalog()
    record = instance(addresses=("10.0.0.7", "2001:db8::7"))
    catalog.apply(Registered(AT, record, 1.0))
    assert catalog.get(record.key) == record
    assert catalog.by_short(short_id("ip_intel", record.instance_id)) == record
    assert catalog.holders(["10.0.0.7:8034"]) == (record,)
    assert catalog.by_ip("2001:db8::7") == (record,)
    assert list(catalog) == [record]


def test_a_removed_instance_is_found_by_no_lookup() -> None:
    for removal in (Deregistered, Expired):
        catalog = Catalog()
        record = instance()
        catalog.apply(Registered(AT, record, 1.0))
        assert catalog.apply(removal(AT, record.key)) == "ip-intel"
        assert catalog.find("ip_intel") is None
        assert catalog.get(record.key) is None
        assert catalog.by_short(short_id("ip_intel", record.instance_id)) is None
        assert catalog.holders(["10.0.0.7:8034"]) == ()
        assert catalog.by_ip("10.0.0.7") == ()
        assert catalog.heartbeat_at(record.key) == 0.0
        assert (len(catalog), catalog.service_count, catalog.digest) == (0, 0, Catalog().digest)
        assert catalog.apply(removal(AT, record.key)) is None


def test_a_moved_instance_leaves_its_old_address() -> None:
    catalog = Catalog()
    catalog.apply(Registered(AT, instance(instance_id="a"), 1.0))
    catalog.apply(Registered(AT, instance(host="10.0.0.8", instance_id="a"), 2.0))
    assert catalog.holders(["10.0.0.7:8034"]) == ()
    assert catalog.by_ip("10.0.0.7") == ()
    assert catalog.holders(["10.0.0.8:8034"]) != ()
    assert len(catalog) == 1


def test_two_instances_may_share_an_ip_for_a_while() -> None:
    catalog = Catalog()
    one, two = instance(port=8034), instance(port=8035)
    catalog.apply(Registered(AT, one, 1.0))
    catalog.apply(Registered(AT, two, 1.0))
    assert catalog.by_ip("10.0.0.7") == (one, two)
    catalog.apply(Deregistered(AT, one.key))
    assert catalog.by_ip("10.0.0.7") == (two,)


def test_removing_the_old_holder_leaves_the_address_to_the_new_one() -> None:
    catalog = Catalog()
    old, new = instance(instance_id="old"), instance(instance_id="new")
    catalog.apply(Registered(AT, old, 1.0))
    catalog.apply(Registered(AT, new, 2.0))
    catalog.apply(Deregistered(AT, old.key))
    assert catalog.holders(["10.0.0.7:8034"]) == (new,)


def test_a_status_change_changes_nothing_else() -> None:
    catalog = Catalog()
    record = instance()
    catalog.apply(Registered(AT, record, 1.0))
    assert catalog.apply(StatusChanged(AT, record.key, Status.CRITICAL)) == "ip-intel"
    changed = catalog.get(record.key)
    assert changed is not None
    assert changed.status is Status.CRITICAL
    assert catalog.apply(StatusChanged(AT, record.key, Status.CRITICAL)) is None
    assert catalog.apply(StatusChanged(AT, instance("unknown_one").key, Status.CRITICAL)) is None


def test_a_renewal_changes_the_heartbeat_and_no_lookup() -> None:
    catalog = Catalog()
    record = instance()
    catalog.apply(Registered(AT, record, 1.0))
    digest = catalog.digest
    assert catalog.apply(Renewed(AT, record.key, 31.0)) is None
    assert catalog.heartbeat_at(record.key) == 31.0
    assert catalog.digest == digest
    catalog.apply(Renewed(AT, instance("unknown_one").key, 31.0))
    assert catalog.heartbeat_at(instance("unknown_one").key) == 0.0


def test_replace_drops_other_instances_and_merge_does_not() -> None:
    catalog = Catalog()
    stays, goes, comes = instance(port=8001), instance("billing", port=8002), instance("osint-service", port=8003)
    catalog.merge([lived(stays), lived(goes)])
    assert catalog.merge([lived(stays), lived(comes)]) == {"osint-service"}
    assert catalog.names() == ["billing", "ip_intel", "osint-service"]
    assert catalog.replace([lived(stays), lived(comes, 9.0)]) == {"billing"}
    assert catalog.names() == ["ip_intel", "osint-service"]
    assert catalog.heartbeat_at(comes.key) == 9.0


def test_the_catalogue_lists_every_instance_with_its_last_heartbeat() -> None:
    catalog = Catalog()
    record = instance()
    catalog.apply(Registered(AT, record, 7.0))
    assert catalog.all() == (lived(record, 7.0),)


def test_equal_keys_and_short_values_of_metadata_are_one_object() -> None:
    """A decoder may create each of them again, and there may be 100,000 instances."""
    records = []
    for _ in range(2):
        text = "release train of november", "twenty six"
        metadata = {"_".join(text[0].split()): text[1].replace(" ", "-"), "long": "x" * 100}  # created each time
        record = instance(metadata=metadata)
        share(record)
        records.append(record.metadata)
    (key, _), (same, _) = records
    assert key is same
    assert records[0][key] is records[1][key]
    assert records[0] == {"release_train_of_november": "twenty-six", "long": "x" * 100}


def test_an_instance_is_found_at_its_host_and_at_each_of_its_addresses() -> None:
    by_name = instance("orders", "orders_1", addresses=("172.18.0.5", "fd00::5"))
    udp = instance("syslog", "172.18.0.5", instance_id="udp", protocol=Protocol.UDP)
    catalog, agents = Catalog(), Catalog(sockets=False)
    for one in (catalog, agents):
        one.merge([lived(by_name), lived(udp)])
    assert catalog.holders(["172.18.0.5:8034", "orders_1:8034", "[fd00::5]:8034"]) == (by_name,)
    assert catalog.holders(["udp/172.18.0.5:8034", "172.18.0.6:8034"]) == (udp,)
    assert agents.holders(["172.18.0.5:8034", "orders_1:8034"]) == ()
    moved = msgspec.structs.replace(by_name, addresses=("172.18.0.6",))
    catalog.merge([lived(moved)])
    assert catalog.holders(["172.18.0.5:8034", "[fd00::5]:8034"]) == ()
    assert catalog.holders(["172.18.0.6:8034"]) == (moved,)
