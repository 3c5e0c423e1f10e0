"""`--check-config` and `--show-settings`: valid settings end with 0, wrong ones with 2, and nothing secret is shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli import main as command_line

SECRET = "q7-never-shown-z9"
FILE = f"""
[agent]
zone = "eu-1a"
registry_token = "{SECRET}"

[[service]]
name = "web_shop"
host = "10.0.0.3"
port = 8080
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for prefix in ("AGENT_", "REGISTRY_", "SERVICE_", "VERTICE_"):
        for name in [name for name in os.environ if name.startswith(prefix)]:
            monkeypatch.delenv(name)
    return monkeypatch


def rows(text: str) -> dict[str, tuple[str, str]]:
    lines = [line.split(maxsplit=2) for line in text.splitlines() if line.strip()]
    return {name: (value, source) for name, value, source in lines}


def test_the_settings_of_an_agent_are_shown_with_their_sources(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(FILE, encoding="utf-8")
    environment.setenv("HEARTBEAT_INTERVAL", "12")
    environment.setenv("AGENT_NAME", "linux-7")
    assert command_line.main(["agent", "--config", str(path), "--dns-listen", ":53", "--show-settings"]) == 0
    said = capsys.readouterr()
    shown = rows(said.out)
    assert shown["HEARTBEAT_INTERVAL"] == ("12", "environment")
    assert shown["AGENT_ZONE"] == ("eu-1a", f"{path}: [agent] zone")
    assert shown["REGISTRY_SECRET"] == ("***", f"{path}: [agent] registry_token")
    assert shown["AGENT_DNS_LISTEN"] == (":53", "command line, --dns-listen")
    assert shown["AGENT_HTTP_LISTEN"] == ("127.0.0.1:8880", "default")
    assert shown["web_shop"] == ("10.0.0.3:8080", f"http    {path}: [[service]] 1")
    assert "AGENT_NAME: it is not a setting of ours" in said.err
    assert SECRET not in said.out + said.err


def test_the_settings_of_a_registry_are_shown_without_its_secrets(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n", encoding="utf-8")
    store = f"rediss+sentinel://user:{SECRET}@s1,s2/3?masters=a,b&sentinel_user=x&sentinel_password={SECRET}"
    environment.setenv("REGISTRY_SECRET_FILE", str(secret))
    environment.setenv("REGISTRY_STORE", store)
    assert command_line.main(["registry", "--listen", ":8888", "--show-settings"]) == 0
    said = capsys.readouterr()
    shown = rows(said.out)
    assert shown["REGISTRY_SECRET"] == ("***", f"environment, REGISTRY_SECRET_FILE, {secret}")
    url = "rediss+sentinel://***@s1:26379,s2:26379/3?masters=a,b&sentinel_password=***"
    assert shown["REGISTRY_STORE"] == (url, "environment")
    assert shown["REGISTRY_LISTEN"] == (":8888", "command line, --listen")
    assert SECRET not in said.out + said.err


@pytest.mark.parametrize(
    "given",
    [
        ("agent", {}, 0, "vertice agent: the settings are valid: 0 services to register"),
        ("registry", {}, 0, "vertice registry: the settings are valid: it listens on 127.0.0.1:8888"),
        ("registry", {"REGISTRY_USER": "ci", "REGISTRY_PORT_8888_TCP": "tcp://x"}, 0, "REGISTRY_USER: it is not a"),
        ("registry", {"REGISTRY_AUTH": "No", "REGISTRY_LISTEN": ":8888"}, 0, "valid"),
        ("registry", {"REGISTRY_LISTEN": ":8888"}, 2, "needs a secret"),
        ("registry", {"REGISTRY_SECRTE": "x"}, 2, "(did you mean REGISTRY_SECRET?)"),
        ("registry", {"REGISTRY_STORE": "rediss://r/?ca=/nowhere/ca.pem"}, 2, "ca=/nowhere/ca.pem: No such file"),
        ("agent", {"HEARTBEAT_INTERVALL": "5"}, 2, "(did you mean HEARTBEAT_INTERVAL?)"),
        ("agent", {"AGENT_CONFIG": "/nowhere/x"}, 2, "AGENT_CONFIG: /nowhere/x: cannot be read"),
    ],
)
def test_checking_the_settings_starts_nothing(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: tuple[str, dict[str, str], int, str]
) -> None:
    program, settings_given, code, line = given
    for name, text in settings_given.items():
        environment.setenv(name, text)
    assert command_line.main([program, "--check-config"]) == code
    out, err = capsys.readouterr()
    assert line in out + err
    assert bool(out) == (code == 0), "an error is on stderr only"


def test_the_settings_are_shown_as_json_without_being_cut(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(FILE, encoding="utf-8")
    long = ",".join(f"10.{number}.0.0/16" for number in range(20))
    environment.setenv("AGENT_DNS_ALLOW", long)
    assert command_line.main(["agent", "--config", str(path), "--show-settings", "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {"setting": "AGENT_DNS_ALLOW", "value": long, "source": "environment"} in shown["settings"]
    (service,) = shown["services"]
    assert service == {
        "service": "web_shop",
        "at": "10.0.0.3:8080",
        "checks": "http",
        "source": f"{path}: [[service]] 1",
    }
    assert command_line.main(["agent", "--show-settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("AGENT_DNS_ALLOW") and "..." in line for line in lines), "a long value is cut for people"


def test_a_format_without_settings_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["agent", "-o", "json"])
    assert "--output is for --show-settings" in capsys.readouterr().err
