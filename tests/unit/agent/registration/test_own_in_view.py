"""How the view shows an agent's own instance: as it was told, otherwise, or with a word that is not the agent's."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.registration.decisions import Sight
from agent.registration.own_in_view import sight
from registry_core.domain.catalog import Catalog
from registry_core.domain.records import Instance, Protocol, Registration, Status
from registry_core.domain.registration import admitted
from tests.samples import claim

CLAIM = claim(epoch=5, addresses=("10.0.0.7",), tags=("blue",), metadata={"team": {"name": "osint", "size": 3}})


def stored(registration: Registration = CLAIM, **more: Any) -> Instance:
    """Return the record that a registry makes of a claim, and what has become of it since."""
    record = admitted(registration, Catalog(), lambda _key: False, 1.0).instance
    return msgspec.structs.replace(record, **more)


def seen(
    shown: Instance | None, told: Status = Status.PASSING, *, current: bool = True, complete: bool = True
) -> Sight:
    return sight(CLAIM, told, shown, is_current=current, is_complete=complete)


def test_what_was_registered_is_shown_as_it_was_told() -> None:
    assert seen(stored()) is Sight.SAME
    assert seen(stored(status=Status.CRITICAL), Status.CRITICAL) is Sight.SAME


@pytest.mark.parametrize("told", [Status.PASSING, Status.WARNING, Status.CRITICAL, Status.DRAINING, Status.MAINTENANCE])
@pytest.mark.parametrize("status", [Status.PASSING, Status.WARNING, Status.CRITICAL])
def test_what_a_check_could_say_is_the_agents_to_say(told: Status, status: Status) -> None:
    assert seen(stored(status=status), told) is (Sight.SAME if status is told else Sight.STATUS)


@pytest.mark.parametrize("told", list(Status))
@pytest.mark.parametrize("status", [Status.DRAINING, Status.MAINTENANCE])
def test_an_operator_may_drain_an_instance_at_the_registry_and_hold_it_for_maintenance(
    told: Status, status: Status
) -> None:
    assert seen(stored(status=status), told) is Sight.SAME


# But for its key, its status, and what is the registry's to say.
FIELDS = sorted(set(Instance.__struct_fields__) - {"instance_id", "status", "registered_at", "suspect"})


@pytest.mark.parametrize("field", FIELDS)
def test_another_record_of_this_owner_or_of_an_older_one_is_registered_anew(field: str) -> None:
    other = _another(getattr(stored(), field))
    assert seen(stored(**{field: other})) is Sight.RECORD


def _another(value: Any) -> Any:
    match value:
        case tuple():
            return (*value, "10.9.9.9")
        case Protocol():
            return Protocol.UDP
        case str():
            return f"{value}x"
        case int():
            return value - 1
        case _:
            return {"other": 1}


def test_a_newer_owner_is_left_alone() -> None:
    assert seen(stored(epoch=6, weight=7, status=Status.CRITICAL)) is Sight.SAME


def test_what_the_registry_adds_by_itself_is_no_difference() -> None:
    assert seen(stored(suspect=True, registered_at=99.0)) is Sight.SAME
    unresolved = msgspec.structs.replace(CLAIM, addresses=())
    assert sight(unresolved, Status.PASSING, stored(), is_current=True, is_complete=True) is Sight.SAME


def test_one_that_is_missing_is_registered_again_if_it_is_known_to_be_missing() -> None:
    assert seen(None) is Sight.RECORD
    assert seen(None, complete=False) is Sight.UNKNOWN


@pytest.mark.parametrize("shown", [None, stored(status=Status.CRITICAL), stored(weight=7)])
def test_a_view_that_is_not_the_registrys_at_present_tells_nothing(shown: Instance | None) -> None:
    assert seen(shown, current=False) is Sight.UNKNOWN
