"""Values of a later release: kept unchanged, bounded, and never mistaken for a known one."""

from __future__ import annotations

import msgspec
import pytest

from registry_core.domain import foreign_values
from registry_core.domain.foreign_values import MAX_LENGTH, MAX_VALUES, enum_value, record_of
from registry_core.domain.records import Protocol, Status
from registry_core.domain.selection import WhenNonePass, serving
from tests.samples import instance


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_values, "_known", {})


def test_a_known_value_is_the_member() -> None:
    assert enum_value(Status, "passing") is Status.PASSING
    assert enum_value(Protocol, "udp") is Protocol.UDP


def test_an_unknown_value_survives_a_round_trip_and_equals_no_member() -> None:
    value = enum_value(Status, "quarantined")
    assert value is enum_value(Status, "quarantined")
    assert value not in list(Status)
    assert (value.value, str(value), msgspec.json.encode(value)) == ("quarantined", "quarantined", b'"quarantined"')
    assert isinstance(value, Status)
    with pytest.raises(ValueError, match="quarantined"):
        Status("quarantined")


@pytest.mark.parametrize("text", ["", " ", "a b", "-x", "x" * (MAX_LENGTH + 1), "\u00fc", "a\nb"])
def test_a_value_that_no_release_would_use_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a valid Status"):
        enum_value(Status, text)


def test_the_number_of_remembered_values_is_bounded() -> None:
    for number in range(MAX_VALUES):
        enum_value(Status, f"s{number}")
    with pytest.raises(ValueError, match="more than"):
        enum_value(Status, "one-more")
    assert enum_value(Status, "s0").value == "s0"
    assert enum_value(Protocol, "quic").value == "quic", "each kind has its own"


def test_a_record_keeps_unknown_values_and_drops_unknown_fields() -> None:
    fields = {**msgspec.to_builtins(instance()), "status": "resting", "protocol": "quic", "planet": "earth"}
    record = record_of(fields)
    assert (record.status, record.protocol, record.endpoint) == ("resting", "quic", "quic://10.0.0.7:8034")
    assert msgspec.structs.replace(record, status=Status.PASSING, protocol=Protocol.HTTP) == instance()


@pytest.mark.parametrize("wrong", [{"port": "x"}, {"service_name": None}, {"status": 7.5}, {"tags": "a"}])
def test_an_invalid_record_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        record_of({**msgspec.to_builtins(instance()), **wrong})


def test_an_instance_of_unknown_status_is_returned_only_when_none_passes() -> None:
    resting = instance(port=9000, status=enum_value(Status, "resting"))
    draining = instance(port=9001, status=Status.DRAINING)
    assert serving((instance(), resting, draining)) == (instance(),)
    assert serving((resting, draining)) == (draining,)
    assert serving((resting,)) == (resting,)
    assert serving((resting,), when_none_pass=WhenNonePass.NONE) == ()
