"""The records of a kept snapshot are checked before any answer is made of them."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from agent.view.kept_records import checked_records
from registry_core.domain.catalog import Lived
from registry_core.domain.records import Protocol, Status
from tests.samples import instance, lived


def changed(heartbeat_at: float = 5.0, **fields: Any) -> Lived:
    return Lived(msgspec.structs.replace(instance(), **fields), heartbeat_at)


@pytest.mark.parametrize(
    "record",
    [
        lived(instance()),
        changed(service_name="a" * 63),  # registered by an earlier release
        changed(host="billing_1.example", addresses=("10.0.0.7", "2001:db8::7"), tags=("blue",), port=80),
        changed(host="2001:db8::7", epoch=2**53 - 1, weight=100, status=Status.DRAINING, protocol=Protocol.UDP),
    ],
)
def test_a_record_of_a_registry_is_kept_as_it_is(record: Lived) -> None:
    assert checked_records([record]) == ((record,), 0, "")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (changed(service_name="Billing"), "the name of 'Billing'"),
        (changed(service_name="a.b.c"), "the name of 'a.b.c'"),
        (changed(service_name="x" * 1000), f"the name of '{'x' * 80}'"),
        (changed(instance_id="a b"), "the id of"),
        (changed(instance_id=""), "the id of"),
        (changed(host="10.0.0.7\n"), "an address of"),
        (changed(host="300.1.2.3"), "an address of"),
        (changed(host="Billing.example"), "an address of"),
        (changed(addresses=("10.0.0.7", "nowhere")), "an address of"),
        (changed(addresses=("2001:DB8::7",)), "an address of"),
        (changed(tags=("blue", "a.b")), "a tag of"),
        (changed(port=0), "a number of"),
        (changed(port=70_000), "a number of"),
        (changed(weight=0), "a number of"),
        (changed(epoch=-1), "a number of"),
        (changed(epoch=2**53), "a number of"),
        (changed(registered_at=-1.0), "a time of"),
        (changed(registered_at=1e300), "a time of"),
        (changed(math.nan), "a time of"),
        (changed(math.inf), "a time of"),
    ],
)
def test_any_other_record_is_left_out_with_the_reason(record: Lived, problem: str) -> None:
    good = lived(instance())
    sound, left_out, because = checked_records([good, record, record])
    assert (sound, left_out) == ((good,), 2)
    assert because.startswith(problem)
