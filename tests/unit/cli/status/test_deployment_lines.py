"""A deployment in lines for people."""

from __future__ import annotations

from typing import Any

from cli.status.deployment_lines import MAX_REASONS, deployment_lines

REPLICA = {
    "id": "f00",
    "url": "http://a:8888",
    "zone": "z1",
    "version": "1.2.0",
    "status": "healthy",
    "state": "ready",
    "uptime_seconds": 7300.0,
    "watchers": 3,
    "view_age_seconds": 0.5,
    "certificate_ends": None,
}
SHARD = {
    "shard": "s1",
    "master": "10.0.0.1:6379",
    "lag_seconds": 0.2,
    "breaker": "closed",
    "writes_waiting": 0,
    "problem": "",
}
SAID: dict[str, Any] = {
    "status": "healthy",
    "reasons": [],
    "timestamp": "2026-01-01T00:00:00+00:00",
    "replicas": [REPLICA],
    "silent": [],
    "shards": [SHARD],
    "services": {"services": 2, "usable": 2, "unusable": [], "instances": 3, "by_status": {"passing": 3}},
    "guard": "clear",
    "suspects": 0,
}


def agent(version: str, freshness: str, state: str = "current") -> dict[str, str]:
    return {"version": version, "freshness": freshness, "state": state}


def shown(agents: Any = None, **fields: Any) -> list[str]:
    return list(deployment_lines("http://lb:8888", {**SAID, **fields}, agents))


def test_a_deployment_in_which_all_is_well() -> None:
    agents = {"agents": [agent("1.2.0", "fresh"), agent("1.2.0", "fresh"), agent("1.1.0", "fresh")], "unreported": 0}
    assert shown(agents) == [
        "deployment  http://lb:8888: healthy",
        "replicas    1 replica",
        "  REPLICA        ZONE  VERSION  HEALTH   STATE  UP   WATCHES  VIEW",
        "  http://a:8888  z1    1.2.0    healthy  ready  2 h  3        0.5 s old",
        "shards      1 shard",
        "  SHARD  MASTER         LAG    BREAKER  WAITING  PROBLEM",
        "  s1     10.0.0.1:6379  0.2 s  closed   0        -",
        "agents      3 agents",
        "  VERSION  AGENTS  FRESH  STALE  EXPIRED",
        "  1.1.0    1       1      0      0",
        "  1.2.0    2       2      0      0",
        "services    2 services, 3 instances: 3 passing",
        "guard       clear",
        "tls         no TLS on the replicas' ports",
    ]


def test_what_is_wrong_comes_first_and_foreign_text_writes_no_escapes() -> None:
    lines = shown(status="degraded", reasons=["a\x1b[2J", *["more"] * MAX_REASONS], silent=["http://b:8888"])
    assert lines[:2] == ["deployment  http://lb:8888: degraded", "            a\\x1b[2J"]
    assert lines[MAX_REASONS + 1 : MAX_REASONS + 3] == [
        "            and 1 more: -o json has all",
        "replicas    2 replicas, 1 of them silent",
    ]


def test_agents_that_are_silent_ended_or_of_an_earlier_release_are_told_apart() -> None:
    agents = {
        "agents": [agent("1.2.0", "stale"), agent("1.2.0", "unknown", "silent"), agent("1.2.0", "fresh", "ended")],
        "unreported": 2,
    }
    (line,) = [one for one in shown(agents) if one.startswith("agents")]
    assert line == "agents      2 agents, 1 silent, and 2 watches of agents that do not report"
    assert "  1.2.0    2       0      1      0        1" in shown(agents)


def test_a_store_in_memory_services_without_use_a_guard_and_a_certificate_that_ends() -> None:
    services = {
        "services": 30,
        "usable": 10,
        "unusable": ["a", "b"],
        "instances": 31,
        "by_status": {"odd": 1, "critical": 20, "passing": 10},
    }
    ends = {**REPLICA, "certificate_ends": "2026-01-03T00:00:00+00:00"}
    over = {**REPLICA, "url": "", "certificate_ends": "2025-12-31T00:00:00+00:00"}
    lines = shown(shards=[], services=services, guard="holding", suspects=7, replicas=[ends])
    assert "store       in the replica's memory" in lines
    assert "agents      unknown: this registry does not say" in lines
    assert "services    30 services, 31 instances: 10 passing, 20 critical, 1 odd" in lines
    assert "            nothing passes: a, b and 18 more" in lines
    assert "guard       holding: 7 instances kept as suspect (vertice guard status says more)" in lines
    assert lines[-1] == "tls         the first certificate ends in 2 d (2026-01-03T00:00:00+00:00): http://a:8888"
    assert shown(replicas=[ends, over])[-1].startswith("tls         the first certificate ends ALREADY")


def test_followers_stand_below_those_that_they_follow() -> None:
    far = {**REPLICA, "id": "cccccccccccccccc", "url": "", "zone": "eu-9", "address": "10.1.0.9", "status": "silent"}
    near = {**REPLICA, "id": "bbbbbbbbbbbbbbbb", "url": "", "zone": "", "address": "203.0.113.9", "followers": [far]}
    lines = shown(replicas=[{**REPLICA, "followers": [near], "followers_left_out": 3}])
    assert lines[4:8] == [
        "followers   2 followers, and 3 that are not shown",
        "  FOLLOWER              FOLLOWS               ZONE  VERSION  HEALTH   STATE  UP   WATCHES  VIEW",
        "  bbbbbbbb 203.0.113.9  http://a:8888         -     1.2.0    healthy  ready  2 h  3        0.5 s old",
        "    cccccccc 10.1.0.9   bbbbbbbb 203.0.113.9  eu-9  1.2.0    silent   ready  2 h  3        0.5 s old",
    ]
