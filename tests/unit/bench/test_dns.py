"""The benchmark of the DNS face reports its results, and tells a missed goal from one that was met."""

from __future__ import annotations

from bench.dns import CHANGING, ECHO, OURS, goals, table
from bench.dns_load import DnsLoad, best
from bench.dns_servers import BenchFleet

ROWS = {
    ECHO: DnsLoad(100_000, 7.5, 0),
    OURS: DnsLoad(110_000, 6.0, 0),
    CHANGING: DnsLoad(100_000, 6.2, 3),
    "unbound": DnsLoad(90_000, 6.5, 0),
    "dnsmasq": DnsLoad(60_000, 12.0, 0),
}


def test_goals_are_met_or_missed() -> None:
    assert [goal.met for goal in goals(ROWS, 0.9)] == [True] * 5
    worse = {**ROWS, OURS: DnsLoad(120_000, 10.0, 0)}
    assert [goal.met for goal in goals(worse, 1.1)] == [False] * 5
    assert str(goals(worse, 1.1)[-1]) == "p99 at half load, ms: 1.10 (goal <= 1) MISSED"


def test_the_table_compares_processor_time() -> None:
    lines = table(ROWS).splitlines()
    assert lines[1].split() == [*ECHO.split(), "100,000", "7.50", "0.80", "0"]


def test_the_best_run_counts_and_lost_queries_add_up() -> None:
    assert best([DnsLoad(10, 5.0, 1), DnsLoad(20, 6.0, 2)]) == DnsLoad(20, 5.0, 3)


def test_a_fleet_has_the_same_records_for_every_server() -> None:
    fleet = BenchFleet(("ip_intel",))
    assert fleet.questions() == "ip-intel.vertice.internal A\n_ip-intel._tcp.vertice.internal SRV\n"
    assert "ip-intel.vertice.internal. 5 IN A 10.100.0.1\n" in fleet.zone_file()
