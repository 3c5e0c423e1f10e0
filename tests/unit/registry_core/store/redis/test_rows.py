"""A record in Redis: the line that scripts use for decisions, and the rest below it, with its order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.encoding import claim_json
from registry_core.domain.records import Instance, Protocol, Status
from registry_core.store.redis import rows
from registry_core.store.redis.rows import LINE, Order
from tests.samples import claim, instance, instances

WRITTEN = Order(3, 42, 7)
# Different from every default.
RED: dict[str, Any] = {
    "health_endpoint": "/up",
    "protocol": Protocol.GRPC,
    "version": "1.4.2",
    "weight": 10,
    "tags": ("canary",),
    "metadata": {"team": "osint", "nested": {"empty": [], "none": None}},
    "zone": "eu-west-1a",
    "status": Status.DRAINING,
    "epoch": 1_764_000_000_000,
    "registered_at": 1_764_000_000.125,
    "suspect": True,
}


@given(instances(), st.sampled_from([WRITTEN, Order(0, 1)]))
def test_written_values_are_read_back(record: Instance, order: Order) -> None:
    stored = rows.stored_in(rows.value_of(record, order))
    assert (stored.instance, stored.order) == (record, order)


def test_every_field_is_written_and_read() -> None:
    record = instance(addresses=("10.0.0.7", "fd00::7"), **RED)
    defaults = {field.name: field.default for field in msgspec.structs.fields(Instance)}
    assert [name for name, default in defaults.items() if getattr(record, name) == default] == []
    assert rows.stored_in(rows.value_of(record, WRITTEN)).instance == record


def test_the_line_has_the_expected_words() -> None:
    line = rows.value_of(instance(**RED), WRITTEN).partition(b"\n")[0]
    assert dict(zip(LINE, line.decode().split(), strict=True)) == {
        "epoch": "1764000000000",
        "registered_at": "1764000000125",
        "status": "draining",
        "suspect": "1",
        "address": "10.0.0.7:8034",
    }


@pytest.mark.parametrize("more", [{"epoch": 7}, {"status": Status.CRITICAL}])
def test_fields_in_the_line_do_not_change_the_rest(more: dict[str, Any]) -> None:
    assert claim_json(claim(**more)) == claim_json(claim())


def test_fields_outside_the_line_change_the_rest() -> None:
    assert claim_json(claim(zone="eu-west-1a")) != claim_json(claim())


def test_a_value_of_the_previous_release_has_no_order() -> None:
    value = rows.value_of(instance(), WRITTEN)
    before = value[: value.rindex(b',"order"')] + b"}"
    assert rows.stored_in(before) == rows.StoredRecord(instance(), None)


@pytest.mark.parametrize("value", [b"", b"{}", b"0 0 passing 0 10.0.0.7:8034\n[]", b"x 0 passing 0 h:1\n{}"])
def test_an_invalid_record_is_an_error(value: bytes) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        rows.stored_in(value)
