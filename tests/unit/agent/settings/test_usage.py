"""Counting is on by default, and one setting turns it off."""

from __future__ import annotations

from agent.settings.settings import read_agent_settings
from agent.settings.usage import USAGE


def test_counting_can_be_turned_off() -> None:
    assert read_agent_settings({}).counts_usage
    assert not read_agent_settings({USAGE.name: "off"}).counts_usage
