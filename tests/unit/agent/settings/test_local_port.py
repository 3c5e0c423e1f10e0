"""The settings of the localhost port."""

from __future__ import annotations

import pytest

from agent.settings.local_port import LocalPortSettings
from agent.settings.settings import read_agent_settings
from registry_core.errors import SettingsError


def test_names_and_tokens_are_read() -> None:
    settings = read_agent_settings({"AGENT_HTTP_HOSTS": "Web1.Example.net., *.svc.example", "AGENT_HTTP_TOKEN": "a,b"})
    assert settings.local_port == LocalPortSettings(("web1.example.net", "*.svc.example"), ("a", "b"))


@pytest.mark.parametrize("name", ["a:8880", "http://a", "*a", "a.*", "a..b", "a b", "-a", "[::1]"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="AGENT_HTTP_HOSTS: "):
        read_agent_settings({"AGENT_HTTP_HOSTS": name})


def test_a_token_is_never_shown() -> None:
    settings = read_agent_settings({"AGENT_HTTP_TOKEN": "s3cret-word"})
    assert "s3cret-word" not in repr(settings)
    with pytest.raises(SettingsError) as refused:
        read_agent_settings({"AGENT_HTTP_TOKEN": "s3cret word"})
    assert "s3cret" not in str(refused.value)
