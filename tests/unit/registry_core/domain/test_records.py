"""What is derived from the one definition of an instance: copies of another kind, and kinds without defaults."""

from __future__ import annotations

import msgspec
import pytest

from registry_core.domain.records import Instance, Registration, complete, copied_as
from tests.samples import claim, instance


class Shown(Instance, frozen=True, kw_only=True):
    """An instance with its observed state."""

    seen_at: float


def test_a_copy_of_another_kind_has_the_same_values() -> None:
    of = instance(version="1.4.2", tags=("canary",), metadata={"team": "osint"}, epoch=7)
    assert copied_as(of, Registration) == claim(
        addresses=of.addresses, version="1.4.2", tags=("canary",), metadata={"team": "osint"}, epoch=7
    )


def test_given_values_override_copied_ones() -> None:
    assert copied_as(claim(epoch=None), Instance, epoch=3, registered_at=1.5) == instance(
        addresses=(), epoch=3, registered_at=1.5
    )


def test_a_value_that_is_neither_given_nor_copied_is_an_error() -> None:
    with pytest.raises(TypeError, match="seen_at"):
        copied_as(instance(), complete(Shown))


def test_a_complete_kind_needs_every_field() -> None:
    whole = complete(Shown)
    assert issubclass(whole, Shown)
    assert whole.__struct_fields__ == (*Instance.__struct_fields__, "seen_at")
    sent = msgspec.to_builtins(copied_as(instance(), whole, seen_at=1.0))
    assert msgspec.convert(sent, whole) == copied_as(instance(), whole, seen_at=1.0)
    for field in whole.__struct_fields__:
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.convert({name: value for name, value in sent.items() if name != field}, whole)
