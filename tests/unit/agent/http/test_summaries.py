"""What a list says of each service."""

from __future__ import annotations

from agent.http.summaries import MOST_ENDPOINTS, summary
from registry_core.domain.records import Service, Status
from tests.samples import instance


def test_a_summary_counts_and_names_those_in_use_first() -> None:
    service = Service(
        "billing",
        (
            instance("billing", "10.0.0.1", status=Status.CRITICAL),
            instance("billing", "10.0.0.2", status=Status.PASSING),
            instance("billing", "10.0.0.3", status=Status.WARNING),
        ),
    )
    found = summary("billing", service)
    assert (found.held, found.instances) == (True, 3)
    assert found.statuses == {"critical": 1, "passing": 1, "warning": 1}
    assert found.endpoints == ("http://10.0.0.2:8034", "http://10.0.0.3:8034", "http://10.0.0.1:8034")


def test_only_some_endpoints_of_a_large_service_are_named() -> None:
    many = Service("billing", tuple(instance("billing", f"10.0.1.{n}") for n in range(1, 100)))
    found = summary("billing", many)
    assert (found.instances, len(found.endpoints)) == (99, MOST_ENDPOINTS)


def test_of_a_service_that_is_not_held_only_the_name_is_known() -> None:
    found = summary("billing", None)
    assert (found.service_name, found.held, found.instances, found.endpoints) == ("billing", False, 0, ())
