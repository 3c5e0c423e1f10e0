"""How the view shows an agent's own instance: as registered, differently, or with a status set by someone else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.registration.decisions import Sight
from agent.registration.own_in_view import sight
from registry_core.domain.admission import admitted
from registry_core.domain.catalog import Catalog
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import Instance, Protocol, Registration, Status
from tests.samples import claim

CLAIM = claim(epoch=5, addresses=("10.0.0.7",), tags=("blue",), metadata={"team": {"name": "osint", "size": 3}})


def stored(registration: Registration = CLAIM, **more: Any) -> Instance:
    """Return a registry's record of a claim, with its later state."""
    record = admitted(registration, Catalog(), lambda _key: 0.0, 1.0, terms=LeaseTerms()).instance
    return msgspec.structs.replace(record, **more)


def seen(
    shown: Instance | None, told: Status = Status.PASSING, *, current: bool = True, complete: bool = True
) -> Sight:
    return sight(CLAIM, told, shown, is_current=current, is_complete=complete)


def test_a_registered_record_matches_the_claim() -> None:
    assert seen(stored()) is Sight.SAME
    assert seen(stored(status=Status.CRITICAL), Status.CRITICAL) is Sight.SAME


@pytest.mark.parametrize("told", [Status.PASSING, Status.WARNING, Status.CRITICAL, Status.DRAINING, Status.MAINTENANCE])
@pytest.mark.parametrize("status", [Status.PASSING, Status.WARNING, Status.CRITICAL])
def test_a_status_that_checks_set_belongs_to_the_agent(told: Status, status: Status) -> None:
    assert seen(stored(status=status), told) is (Sight.SAME if status is told else Sight.STATUS)


@pytest.mark.parametrize("told", list(Status))
@pytest.mark.parametrize("status", [Status.DRAINING, Status.MAINTENANCE])
def test_an_operator_may_drain_or_maintain_an_instance_at_the_registry(told: Status, status: Status) -> None:
    assert seen(stored(status=status), told) is Sight.SAME


# Except its key, its status, and the registry's own fields.
FIELDS = sorted(set(Instance.__struct_fields__) - {"instance_id", "status", "registered_at", "suspect"})


@pytest.mark.parametrize("field", FIELDS)
def test_a_different_record_of_this_or_an_older_owner_is_registered_again(field: str) -> None:
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


def test_fields_added_by_the_registry_are_no_difference() -> None:
    assert seen(stored(suspect=True, registered_at=99.0)) is Sight.SAME
    unresolved = msgspec.structs.replace(CLAIM, addresses=())
    assert sight(unresolved, Status.PASSING, stored(), is_current=True, is_complete=True) is Sight.SAME


def test_an_instance_known_to_be_missing_is_registered_again() -> None:
    assert seen(None) is Sight.RECORD
    assert seen(None, complete=False) is Sight.UNKNOWN


@pytest.mark.parametrize("shown", [None, stored(status=Status.CRITICAL), stored(weight=7)])
def test_an_outdated_view_gives_no_verdict(shown: Instance | None) -> None:
    assert seen(shown, current=False) is Sight.UNKNOWN
