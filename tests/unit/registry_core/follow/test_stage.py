from __future__ import annotations

from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Deregistered, Position, Registered
from registry_core.domain.records import Instance
from registry_core.follow.stage import MOST_DIFFERENCES, FollowerStage
from tests.samples import instance, lived

AT = Position(0, "e", 9)
GEO, BILLING = instance("geo", "10.0.0.1"), instance("billing", "10.0.0.2")


def stage_over(*current: Instance) -> FollowerStage:
    catalog = Catalog()
    catalog.merge(map(lived, current))
    return FollowerStage(catalog)


def test_an_equal_snapshot_differs_in_nothing() -> None:
    stage = stage_over(GEO, BILLING)
    stage.add([lived(BILLING)])
    stage.add([lived(GEO)])
    assert stage.differences(AT) == []
    assert stage.taken()[0] == ()


def test_new_changed_and_missing_instances_differ() -> None:
    stage = stage_over(GEO, BILLING)
    heavier, new = instance("geo", "10.0.0.1", weight=9), instance("osint_service", "10.0.0.3")
    stage.add([lived(heavier), lived(new)])
    assert stage.differences(AT) == [
        Registered(AT, heavier, 1.0),
        Registered(AT, new, 1.0),
        Deregistered(AT, BILLING.key),
    ]


def test_more_differences_than_fit_one_line_are_none() -> None:
    records = [instance("geo", f"10.1.{n // 250}.{n % 250}") for n in range(MOST_DIFFERENCES + 1)]
    stage = stage_over()
    stage.add(map(lived, records))
    assert stage.differences(AT) is None
    assert len(stage.catalog) == len(records)
    assert stage_over(*records).differences(AT) is None
