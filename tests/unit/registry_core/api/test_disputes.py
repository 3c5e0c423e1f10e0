"""The registry's log says who has what a refused claim is for, once for each dispute."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from registry_core.api.disputes import MAX_DISPUTES, Disputes
from registry_core.domain.records import InstanceKey
from registry_core.errors import Conflict, Fenced, Holder

KEY = InstanceKey("orders", "one")
HOLDER = Holder("billing", "b1", "billing_1:8034", ("10.0.0.7",))
CONFLICT, FENCED = Conflict("taken", holder=HOLDER), Fenced("newer", holder=HOLDER)


def logged(*errors: Conflict, key: InstanceKey = KEY) -> list[Any]:
    disputes = Disputes()
    with capture_logs() as lines:
        for error in errors:
            disputes.refused(key, "10.0.0.7:8034", error)
    return lines


def test_a_dispute_names_both_addresses() -> None:
    (line,) = logged(CONFLICT)
    assert (line["log_level"], line["event"], line["service"], line["instance"]) == (
        "warning",
        "claim refused",
        "orders",
        "one",
    )
    assert (line["address"], line["holder"]) == ("10.0.0.7:8034", "billing/b1")
    assert line["holder_address"] == "billing_1:8034 (10.0.0.7)"


def test_it_is_logged_once_and_again_when_another_instance_is_in_the_way() -> None:
    assert len(logged(*[CONFLICT] * 5)) == 1
    assert len(logged(CONFLICT, FENCED, CONFLICT, FENCED)) == 2, "one for its address, one for its id"
    other = Conflict("taken", holder=Holder("geo_ip", "g1", "10.0.0.7:8034"))
    assert len(logged(CONFLICT, other, CONFLICT)) == 3


def test_a_conflict_without_an_instance_is_no_dispute() -> None:
    assert logged(Conflict("two spellings"), Fenced("it was removed", holder=None)) == []


def test_it_remembers_a_bounded_number() -> None:
    disputes = Disputes()
    with capture_logs() as lines:
        for number in range(2 * MAX_DISPUTES):
            disputes.fenced(InstanceKey("orders", f"i{number}"), HOLDER)
        assert len(disputes._logged) <= MAX_DISPUTES
        disputes.fenced(InstanceKey("orders", f"i{2 * MAX_DISPUTES - 1}"), HOLDER)
    assert len(lines) == 2 * MAX_DISPUTES
