"""The flags of `vertice agent`: they override the environment, and those of removed settings are accepted."""

from __future__ import annotations

import argparse

import pytest

from agent.settings import sources, table
from agent.settings.settings import read_agent_settings
from cli.commands import agent
from cli.parser import CommandParser
from registry_core.errors import SettingsError
from registry_core.settings import RemovedSetting

OLD = RemovedSetting("AGENT_OLD_WAY", "there is a better one", flag="--old-way")


def parsed(*argv: str) -> argparse.Namespace:
    parser = CommandParser("vertice agent", "", "")
    agent.add_arguments(parser)
    return parser.parse_args(argv)


def test_a_flag_wins_over_the_environment() -> None:
    environment = {"AGENT_HTTP_LISTEN": ":2", "AGENT_ZONE": "z"}
    given = read_agent_settings(environment, flags=agent.flags_of(parsed("--http-listen", ":1")))
    assert (str(given.http_listen), given.zone) == ("[::]:1", "z")


def test_a_wrong_flag_is_named_as_the_user_wrote_it() -> None:
    with pytest.raises(SettingsError, match=r"^--dns-listen: '53' cannot be used: it is not host:port"):
        read_agent_settings({}, flags=agent.flags_of(parsed("--dns-listen", "53")))


def test_the_flag_of_a_removed_setting_is_accepted_but_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (agent, sources, table):
        monkeypatch.setattr(module, "REMOVED", (OLD,))
    assert read_agent_settings({}, flags=agent.flags_of(parsed("--old-way", "4"))).ignored == (OLD,)
    assert agent.flags_of(parsed()) == {}
    parser = CommandParser("vertice agent", "", "")
    agent.add_arguments(parser)
    assert "old-way" not in parser.format_help()


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parsed("--dns-workers", "4")
