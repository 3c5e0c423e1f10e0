"""Reports between two releases: this one and the previous one, as agent and as registry, both ways round."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.previous import THIS, Release, previous_release
from tests.programs import accepts, free_port, running, wait_until


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return previous_release(tmp_path_factory.mktemp("previous"))


def said(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def is_ready(port: int) -> bool:
    try:
        return bool(said(port, "/ready"))
    except OSError:
        return False


def agent_settings(registry: int, http: int) -> dict[str, str]:
    return {
        "REGISTRY_URL": f"http://127.0.0.1:{registry}",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
    }


@pytest.mark.timeout(120)
def test_an_agent_of_the_previous_release_is_counted_as_one_that_does_not_report(
    tmp_path: Path, before: Release
) -> None:
    port, http = free_port(), free_port()
    registry = [*THIS.vertice, "registry", "--listen", f"127.0.0.1:{port}"]
    with (
        running(registry, tmp_path / "registry.log", {"REGISTRY_REPORT_EVERY": "1", "REGISTRY_WARMING": "0"}),
        running([*before.vertice, "agent"], tmp_path / "agent.log", agent_settings(port, http)),
    ):
        wait_until(lambda: accepts(port) and is_ready(http), "the agent follows the registry")
        wait_until(lambda: said(port, "/agents")["unreported"] == 1, "the registry misses its reports", timeout_s=30)
        doubts = said(port, "/usage")["observed"]["doubts"]
        assert any("do not report" in doubt for doubt in doubts)


@pytest.mark.timeout(120)
def test_an_agent_of_this_release_sends_no_report_to_a_registry_of_the_previous_one(
    tmp_path: Path, before: Release
) -> None:
    port, http = free_port(), free_port()
    registry = [*before.vertice, "registry", "--listen", f"127.0.0.1:{port}"]
    with (
        running(registry, tmp_path / "registry.log", {"REGISTRY_WARMING": "0"}),
        running([*THIS.vertice, "agent"], tmp_path / "agent.log", agent_settings(port, http)),
    ):
        wait_until(lambda: accepts(port) and is_ready(http), "the agent follows the registry")
        assert said(http, "/self")["sync"]["connected"]
    assert "reports_refused" not in (tmp_path / "agent.log").read_text()
