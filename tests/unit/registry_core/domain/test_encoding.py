"""One encoding of an instance: the same bytes in a row, under the digest and in a line of the watch."""

from __future__ import annotations

import hashlib

import msgspec

from registry_core.domain.digest import instance_digest
from registry_core.domain.encoding import claim_json, instance_json
from registry_core.domain.events import Position, Registered
from registry_core.domain.records import Instance, Registration, Status, copied_as
from registry_core.store.redis import rows
from registry_core.watch.lines import event_line
from tests.samples import instance

RECORD = instance(
    metadata={"b": 'a "quoted",\n"status":"x"', "a": {"status": "y", "c": [1, None]}},
    tags=("x",),
    status=Status.WARNING,
    epoch=7,
    registered_at=1764000000.123,
)


def test_an_instance_is_encoded_as_its_fields_with_sorted_metadata() -> None:
    assert msgspec.json.decode(instance_json(RECORD), type=Instance) == RECORD
    assert list(msgspec.json.decode(instance_json(RECORD))) == list(Instance.__struct_fields__)
    turned = msgspec.structs.replace(RECORD, metadata=dict(reversed(RECORD.metadata.items())))
    assert instance_json(turned) == instance_json(RECORD)


def test_the_last_encoding_is_that_of_the_same_record_alone() -> None:
    first = instance_json(RECORD)
    assert instance_json(RECORD) is first
    other = msgspec.structs.replace(RECORD, port=8035)
    assert msgspec.json.decode(instance_json(other))["port"] == 8035
    assert instance_json(RECORD) == first


def test_the_digest_and_the_watch_have_these_bytes() -> None:
    encoded = instance_json(RECORD)
    assert instance_digest(RECORD) == int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest())
    line = event_line(Registered(Position(3, "e1", 9), RECORD, 1764000001.5), RECORD.service_name, change=255, count=2)
    assert encoded in line
    assert msgspec.json.decode(line) == {
        "type": "registered",
        "position": "3.e1.9",
        "change": "00000000000000ff",
        "count": 2,
        "instance": msgspec.json.decode(encoded),
        "heartbeat_at": 1764000001.5,
    }


def test_a_claim_is_encoded_as_a_new_instance_that_passes() -> None:
    claim = copied_as(RECORD, Registration)
    new = msgspec.structs.replace(RECORD, status=Status.PASSING, epoch=0, registered_at=0.0, suspect=False)
    assert claim_json(claim) == claim_json(RECORD) == instance_json(new)
    assert claim_json(msgspec.structs.replace(claim, epoch=None)) == claim_json(claim)
    assert rows.value_of(RECORD, rows.Order(1, 2)).partition(b"\n")[2].startswith(claim_json(claim)[:-1])
