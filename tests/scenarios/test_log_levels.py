"""Levels of log lines change while the real programs run: by command, by SIGHUP, and back."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

SECRET = "a-long-random-word"


def vertice(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/env", *(f"{k}={v}" for k, v in environment.items()), *VERTICE, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def events(program: Program, name: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
    return [line["details"] for line in lines if line["event"] == name]


def test_an_operator_changes_the_levels_of_an_agent_and_a_reload_brings_back_its_settings(tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "agent.toml"
    config.write_text('[agent]\nlog_level = "info,agent.sync=warning"\n')
    settings = {
        "AGENT_CONFIG": str(config),
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_DNS_FORWARD": "none",
        "AGENT_LOG_FORMAT": "json",
    }
    at = ("--agent", f"127.0.0.1:{port}")
    with running([*VERTICE, "agent"], tmp_path / "agent.log", settings) as agent:
        wait_until(lambda: accepts(port), "the agent listens")
        assert vertice("log-level", *at).stdout.splitlines()[0] == "levels: info,agent.sync=warning"
        changed = vertice("log-level", "dns", "debug", *at)
        assert changed.stdout.splitlines()[:2] == [
            "levels: info,agent.sync=warning,dns=debug",
            "by the settings, and after a restart: info,agent.sync=warning",
        ]
        wait_until(lambda: len(events(agent, "log_levels_changed")) == 1, "the change is logged")

        unknown = vertice("log-level", "dsn", "debug", *at)
        assert (unknown.returncode, "no such component: agent, agent.certificates" in unknown.stderr) == (3, True)
        wrong = vertice("log-level", "dns", "loud", *at)
        assert (wrong.returncode, "debug, info, warning, error" in wrong.stderr) == (2, True)

        agent.signal(signal.SIGHUP)
        wait_until(
            lambda: vertice("log-level", *at).stdout.startswith("levels: info,agent.sync=warning\n"),
            "the levels of the settings are back",
        )
        config.write_text('[agent]\nlog_level = "error,dns=debug"\n')
        wait_until(
            lambda: vertice("log-level", *at).stdout.startswith("levels: error,dns=debug\n"),
            "the file is read again",
            timeout_s=30,
        )
        assert json.loads(vertice("log-level", "warning", *at, "-o", "json").stdout)["levels"] == "warning"
        assert vertice("log-level", "--reset", *at).stdout.startswith("levels: error,dns=debug\n")


def test_an_operator_changes_the_levels_of_a_replica_and_its_file_counts_again_on_sighup(tmp_path: Path) -> None:
    port, levels = free_port(), tmp_path / "levels"
    levels.write_text("info\n")
    settings = {
        "REGISTRY_LISTEN": f"127.0.0.1:{port}",
        "REGISTRY_SECRET": SECRET,
        "REGISTRY_LOG_LEVEL_FILE": str(levels),
        "REGISTRY_LOG_FORMAT": "json",
    }
    at = ("--registry", f"127.0.0.1:{port}")
    with running([*VERTICE, "registry"], tmp_path / "registry.log", settings) as registry:
        wait_until(lambda: accepts(port), "the registry listens")
        refused = vertice("log-level", "debug", *at)
        assert (refused.returncode, "levels" in refused.stdout) == (1, False)
        changed = vertice("log-level", "store", "debug", *at, REGISTRY_SECRET=SECRET)
        assert changed.stdout.startswith("levels: info,store=debug\n"), changed.stderr

        levels.write_text("warning,tls=debug\n")
        registry.signal(signal.SIGHUP)
        wait_until(lambda: len(events(registry, "log_levels_read")) == 1, "the file is read again")
        shown = vertice("log-level", *at, REGISTRY_SECRET=SECRET).stdout
        assert shown.startswith("levels: warning,tls=debug\n")

        levels.write_text("loud")
        registry.signal(signal.SIGHUP)
        wait_until(lambda: len(events(registry, "log_levels_kept")) == 1, "the wrong file is reported")
        assert vertice("log-level", *at, REGISTRY_SECRET=SECRET).stdout == shown


def test_a_wrong_level_in_the_settings_names_the_known_components(tmp_path: Path) -> None:
    done = vertice("registry", AGENT="x", REGISTRY_LOG_LEVEL="info,agent.sync=debug")
    assert done.returncode == 2
    assert (
        "REGISTRY_LOG_LEVEL: 'info,agent.sync=debug' cannot be used: there is no component 'agent.sync'" in done.stderr
    )
    assert "store.redis" in done.stderr
    assert len(done.stderr.splitlines()) == 1
