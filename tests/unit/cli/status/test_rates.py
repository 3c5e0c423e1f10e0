"""Rates between two looks at a deployment."""

from __future__ import annotations

from typing import Any

from cli.status.rates import DeploymentLook, rate_lines, replica_rates, shown_rate


def look(at_s: float, **lookups: int) -> DeploymentLook:
    def one(name: str, count: int) -> dict[str, Any]:
        requests = {"lookups": count, "writes": count // 2, "refused": 0, "failed": 0}
        known = {"url": "", "cpu_percent": None, "watchers": 1, "status": "healthy"}
        return {"id": name, "requests": requests, **known}

    return DeploymentLook(at_s, {"replicas": [one(name, count) for name, count in lookups.items()]})


def rates_of(before: DeploymentLook | None, now: DeploymentLook) -> dict[str, tuple[float | None, float | None]]:
    return {one.replica: (one.rates["lookups"], one.rates["writes"]) for one in replica_rates(before, now)}


def test_a_rate_is_what_was_added_a_second() -> None:
    assert rates_of(look(10, a=100), look(14, a=500)) == {"a": (100.0, 50.0)}


def test_the_first_look_and_a_new_replica_have_no_rates() -> None:
    assert rates_of(None, look(1, a=5)) == {"a": (None, None)}
    assert rates_of(look(1, a=5), look(2, a=5, b=9)) == {"a": (0.0, 0.0), "b": (None, None)}


def test_a_counter_that_began_anew_gives_no_rate() -> None:
    assert rates_of(look(1, a=500), look(2, a=3)) == {"a": (None, None)}


def test_the_table_has_a_line_for_each_replica_and_the_sum() -> None:
    lines = rate_lines(replica_rates(look(0, a=0, b=0), look(2, a=5, b=2000)), ["http://c"])
    assert [line.split() for line in lines] == [
        ["REPLICA", "LOOKUPS/S", "WRITES/S", "REFUSED/S", "FAILED/S", "CPU", "%", "WATCHES", "HEALTH"],
        ["a", "2.5", "1.0", "0", "0", "-", "1", "healthy"],
        ["b", "1,000", "500", "0", "0", "-", "1", "healthy"],
        ["http://c", "-", "-", "-", "-", "-", "-", "silent"],
        ["all", "1,002", "501", "0", "0", "2"],
    ]


def test_what_is_not_known_is_no_zero() -> None:
    assert [shown_rate(None), shown_rate(0.0), shown_rate(0.04), shown_rate(12345.6)] == ["-", "0", "0.0", "12,346"]
