"""The flags of `vertice agent`: they override the environment, and those of removed settings are accepted."""

from __future__ import annotations

import argparse

import pytest

from agent.settings import settings, table
from agent.settings.settings import read_agent_settings
from cli.commands import agent
from registry_core.settings import RemovedSetting

OLD = RemovedSetting("AGENT_OLD_WAY", "there is a better one", flag="--old-way")


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    agent.add_arguments(parser)
    return parser.parse_args(argv)


def test_a_flag_wins_over_the_environment() -> None:
    given = agent.environment_of(parsed("--http-listen", ":1"), {"AGENT_HTTP_LISTEN": ":2", "AGENT_ZONE": "z"})
    assert given == {"AGENT_HTTP_LISTEN": ":1", "AGENT_ZONE": "z"}


def test_the_flag_of_a_removed_setting_is_accepted_but_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (agent, settings, table):
        monkeypatch.setattr(module, "REMOVED", (OLD,))
    environment = agent.environment_of(parsed("--old-way", "4"), {})
    assert read_agent_settings(environment).ignored == (OLD,)
    assert agent.environment_of(parsed(), {}) == {}
    parser = argparse.ArgumentParser()
    agent.add_arguments(parser)
    assert "old-way" not in parser.format_help()


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parsed("--dns-workers", "4")
