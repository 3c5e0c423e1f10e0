"""What is derived from the one definition of an instance: copies of another kind, and kinds without defaults."""

from __future__ import annotations

import msgspec
import pytest

from registry_core.domain.records import Instance, Registration, complete, copied_as
from tests.samples import claim, instance


class Shown(Instance, frozen=True, kw_only=True):
    """An instance, and what is seen of it."""

    seen_at: float


def test_a_copy_of_another_kind_says_the_same() -> None:
    of = instance(version="1.4.2", tags=("canary",), metadata={"team": "osint"}, epoch=7)
    assert copied_as(of, Registration) == claim(
        addresses=of.addresses, version="1.4.2", tags=("canary",), metadata={"team": "osint"}, epoch=7
    )


def test_what_is_given_counts_before_what_is_copied() -> None:
    assert copied_as(claim(epoch=None), Instance, epoch=3, registered_at=1.5) == instance(
        addresses=(), epoch=3, registered_at=1.5
    )


def test_what_neither_says_cannot_be_left_out() -> None:
    with pytest.raises(TypeError, match="seen_at"):
        copied_as(instance(), complete(Shown))


def test_of_what_is_complete_nothing_may_be_left_out() -> None:
    whole = complete(Shown)
    assert issubclass(whole, Shown)
    assert whole.__struct_fields__ == (*Instance.__struct_fields__, "seen_at")
    sent = msgspec.to_builtins(copied_as(instance(), whole, seen_at=1.0))
    assert msgspec.convert(sent, whole) == copied_as(instance(), whole, seen_at=1.0)
    for field in whole.__struct_fields__:
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.convert({name: value for name, value in sent.items() if name != field}, whole)
