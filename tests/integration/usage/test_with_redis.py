"""Usage at two replicas on one Redis: real programs. Of a killed agent the answer says what is not known."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.commands import command
from tests.programs import VERTICE, accepts, find, free_port, running, wait_until
from tests.redis_topology import redis_server

pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]


def said(url: str, path: str) -> Any:
    with urllib.request.urlopen(url + path, timeout=20) as answer:
        return json.load(answer)


def curl(*words: str) -> bool:
    argv = [find("curl"), "-fsS", "-m", "5", "-H", "Content-Type: application/json", *words]
    return subprocess.run(argv, check=False, timeout=20, capture_output=True).returncode == 0


def test_replicas_add_up_and_a_killed_agent_is_a_doubt(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    faces = [free_port(), free_port()]
    with redis_server(tmp_path / "redis") as server:
        shared = {
            "REGISTRY_STORE": f"redis://127.0.0.1:{server.port}/?replicas=0",
            "REGISTRY_PEERS": ",".join(urls),
            "REGISTRY_REPORT_EVERY": "1",
            "REGISTRY_WARMING": "0",
        }
        registries = [[*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"] for port in ports]

        def agent(number: int, name: str) -> dict[str, str]:
            return {
                "REGISTRY_URL": urls[number],
                "SERVICE_NAME": name,
                "SERVICE_HOST": f"127.0.0.{number + 1}",
                "SERVICE_PORT": "8000",
                "AGENT_CHECK": "none",
                "AGENT_HTTP_LISTEN": f"127.0.0.1:{faces[number]}",
                "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
            }

        with (
            running(registries[0], tmp_path / "first.log", shared),
            running(registries[1], tmp_path / "second.log", shared),
        ):
            wait_until(lambda: all(map(accepts, ports)), "both listen")
            with running([*VERTICE, "agent"], tmp_path / "billing.log", agent(0, "billing")):
                with running([*VERTICE, "agent"], tmp_path / "web.log", agent(1, "web_app")) as web:
                    wait_until(lambda: curl(f"http://127.0.0.1:{faces[0]}/resolve/web_app"), "billing finds web_app")
                    wait_until(lambda: curl(f"http://127.0.0.1:{faces[1]}/resolve/billing"), "web_app finds billing")

                    def consumers(url: str) -> dict[str, list[list[str]]]:
                        return {
                            one["service"]: [c["services"] for c in one["consumers"]]
                            for one in said(url, "/usage")["usage"]
                        }

                    both = {"billing": [["web_app"]], "web_app": [["billing"]]}
                    wait_until(lambda: all(consumers(url) == both for url in urls), "both replicas know both")
                    assert {one["registry"] for one in said(urls[0], "/agents")["agents"]} == {
                        one["registry"] for one in said(urls[1], "/agents")["agents"]
                    }
                    web.signal(signal.SIGKILL)
                wait_until(
                    lambda: said(urls[0], "/agents")["by_state"] == {"current": 1, "silent": 1, "ended": 0},
                    "the killed agent is silent",
                    timeout_s=60,
                )
                seen = said(urls[0], "/usage?service=nobody_asked")
                assert seen["usage"][0]["verdict"] == "unknown"
                assert [one["because"] for one in seen["observed"]["unseen"]] == ["silent"]
                unsafe = command("usage", "--safe-to-delete", "web_app", "--within", "1h", "--registry", urls[1])
                assert unsafe.returncode == 1
                assert "billing asked for it" in unsafe.stdout
