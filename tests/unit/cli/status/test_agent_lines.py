"""An agent in lines for people."""

from __future__ import annotations

from typing import Any

from cli.status.agent_lines import agent_lines

SERVICE = {
    "service_name": "billing",
    "instance_id": "10.0.0.7:8034",
    "held": None,
    "status": "passing",
    "phase": "registered",
    "problem": "",
}
VIEW = {"services": 2, "instances": 1, "freshness": "fresh", "age_seconds": 0.0}
ABOUT: dict[str, Any] = {
    "uptime_seconds": 7300.0,
    "sync": {"registry": "http://a:1", "connected": True},
    "view": VIEW,
    "services": [SERVICE],
}


def test_a_healthy_agent_is_a_few_lines() -> None:
    assert list(agent_lines("http://near:1", {"status": "healthy", "reasons": []}, ABOUT)) == [
        "agent     http://near:1: healthy, up 2 h",
        "registry  http://a:1: connected",
        "view      2 services, 1 instance, fresh",
        "services  1 service of this agent:",
        "  SERVICE  INSTANCE       STATUS   REGISTRATION  PROBLEM",
        "  billing  10.0.0.7:8034  passing  registered    -",
    ]


def test_what_is_wrong_is_named() -> None:
    about = {
        **ABOUT,
        "view": {**VIEW, "freshness": "stale", "age_seconds": 400.0},
        "sync": {"registry": "", "connected": False},
        "services": [{**SERVICE, "held": "maintenance", "problem": "the token is wrong"}],
    }
    shown = "\n".join(agent_lines("u", {"status": "degraded", "reasons": ["the watch is\x1b[2J lost"]}, about))
    assert "the watch is\\x1b[2J lost" in shown
    assert "registry  none: not connected" in shown
    assert "stale, confirmed 7 min ago" in shown
    assert "maintenance  registered    the token is wrong" in shown
