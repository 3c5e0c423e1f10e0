"""The real programs: `vertice registry` and `vertice agent`, started, killed and stopped."""

from __future__ import annotations

import contextlib
import http.server
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dnslib
import pytest

from tests.beside import http_server
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until

HOST = "127.77.1.1"
FAST = {
    "HEARTBEAT_INTERVAL": "0.5",
    "INITIAL_WAIT_TIMEOUT": "30",
    "AGENT_CHECK_INTERVAL": "0.2",
    "AGENT_DRAIN_WAIT": "0",
    "AGENT_WHEN_NONE_PASS": "none",
}


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class System:
    """A registry, an agent and a service, each its own program."""

    def __init__(self, folder: Path, service_port: int) -> None:
        self.folder = folder
        self.registry_port, self.http_port, self.dns_port = free_port(), free_port(), free_port()
        self.service_port = service_port

    def registry(self) -> contextlib.AbstractContextManager[Program]:
        argv = (*VERTICE, "registry", "--listen", f"127.0.0.1:{self.registry_port}")
        return running(argv, self.folder / "registry.log", {"REGISTRY_WARMING": "2"})

    def agent(self, **more: str) -> contextlib.AbstractContextManager[Program]:
        return running((*VERTICE, "agent"), self.folder / "agent.log", {**self.settings(), **more})

    def settings(self) -> dict[str, str]:
        return {
            **FAST,
            "SERVICE_NAME": "osint_service",
            "SERVICE_HOST": HOST,
            "SERVICE_PORT": str(self.service_port),
            "REGISTRY_URL": f"http://127.0.0.1:{self.registry_port}",
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{self.dns_port}",
        }

    def get(self, port: int, path: str) -> tuple[int, dict[str, str], Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, dict(answer.headers), json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), json.loads(error.read())
        except OSError:
            return 0, {}, None

    def addresses(self) -> list[str]:
        question = dnslib.DNSRecord.question("osint-service.vertice.internal")
        try:
            answer = dnslib.DNSRecord.parse(question.send("127.0.0.1", self.dns_port, timeout=2))
        except OSError:
            return []
        return [str(rr.rdata) for rr in answer.rr]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with http_server(Health, HOST) as port:
        yield System(tmp_path, port)


def test_every_lookup_finds_a_service_while_its_registry_is_down(system: System) -> None:
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(system.registry())
        agent = stack.enter_context(system.agent())
        wait_until(lambda: system.addresses() == [HOST], "the service is found")
        wait_until(lambda: system.get(system.http_port, "/health")[2]["status"] == "healthy", "all is well")

        registry.signal(signal.SIGKILL)
        registry.process.wait(10)
        ages = []

        def ages_on() -> bool:
            status, headers, _ = system.get(system.http_port, "/services/osint-service")
            assert status == 200
            assert system.addresses() == [HOST]
            ages.append(int(headers["Age"]))
            return ages[-1] >= 1

        wait_until(ages_on, "the answers say that they age")
        assert system.get(system.http_port, "/health")[2]["status"] == "degraded"

        stack.enter_context(system.registry())
        wait_until(lambda: system.get(system.registry_port, "/services")[2] == ["osint_service"], "it registers again")
        assert system.addresses() == [HOST]

        assert agent.stop() == 0
        wait_until(lambda: system.get(system.registry_port, "/services")[2] == [], "nothing is left, once it is ready")
        assert not accepts(system.http_port)


def test_an_agent_with_a_named_host_and_a_silent_registry_ends_before_docker_kills_it(
    system: System,
) -> None:
    named = {"SERVICE_HOST": "localhost", "AGENT_CHECK": "none", "AGENT_DRAIN_WAIT": "5"}
    with system.registry() as registry, system.agent(**named) as agent:
        wait_until(lambda: system.get(system.registry_port, "/services")[2] == ["osint_service"], "it is registered")
        registry.signal(signal.SIGSTOP)
        try:
            assert agent.stop(timeout_s=10.0) == 0
            assert "left_without_farewell" in agent.output()
        finally:
            registry.signal(signal.SIGCONT)


def test_the_log_is_json_and_the_first_line_names_the_addresses(system: System) -> None:
    with system.agent() as agent:
        wait_until(lambda: accepts(system.http_port), "it listens without a registry")
        wait_until(lambda: "vertice agent:" in agent.output(), "it says so")
        said = [line for line in agent.output().splitlines() if line.startswith("vertice agent:")]
        where = f"HTTP on http://127.0.0.1:{system.http_port}, DNS on 127.0.0.1:{system.dns_port} (vertice.internal)"
        registry = f"http://127.0.0.1:{system.registry_port}"
        assert said == [f"vertice agent: {where}; 1 service to register at {registry}"]
        logged = [json.loads(line) for line in agent.output().splitlines() if line.startswith("{")]
        assert {"timestamp", "level", "component", "event", "details", "trace_id"} == set(logged[0])
        assert agent.stop() == 0, "it also ends without a registry"


@pytest.mark.parametrize(
    ("settings", "exit_code", "said"),
    [
        ({"AGENT_CHECK_TIMEOUT": "9"}, 2, "vertice: AGENT_CHECK_TIMEOUT: '9' cannot be used"),
        ({"HEARTBEAT_INTERVALL": "5"}, 2, "vertice: HEARTBEAT_INTERVALL: there is no such setting (did you mean HEAR"),
        ({"SERVICE_NAME": "Osint"}, 2, "vertice: SERVICE_NAME: 'Osint' cannot be used"),
    ],
)
def test_an_invalid_setting_is_one_line_and_exit_code_2(
    system: System, settings: dict[str, str], exit_code: int, said: str
) -> None:
    with system.agent(**settings) as agent:
        assert agent.process.wait(20) == exit_code
        lines = agent.output().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(said)


@pytest.mark.parametrize("in_file", [False, True], ids=["environment", "file"])
def test_a_removed_setting_is_ignored_with_one_line(system: System, in_file: bool) -> None:
    file = system.folder / "agent.toml"
    file.write_text("[agent]\ndns_workers = 4\n")
    given = {"AGENT_CONFIG": str(file)} if in_file else {"AGENT_DNS_WORKERS": "4"}
    with system.agent(**given) as agent:
        wait_until(lambda: "agent_started" in agent.output(), "it starts")
        logged = [json.loads(line) for line in agent.output().splitlines() if line.startswith("{")]
        (warning,) = [line for line in logged if "AGENT_DNS_WORKERS" in str(line)]
        assert (warning["level"], warning["event"]) == ("warning", "settings_ignored")
        assert list(warning["details"]["removed"]) == ["AGENT_DNS_WORKERS"]
        assert agent.stop() == 0


def test_the_settings_of_other_programs_are_logged_once_and_change_nothing(system: System) -> None:
    with system.agent(AGENT_NAME="linux-7", SERVICE_X_PORT="tcp://10.0.0.1:80", REGISTRY_USER="ci") as agent:
        wait_until(lambda: "agent_started" in agent.output(), "it starts")
        logged = [json.loads(line) for line in agent.output().splitlines() if line.startswith("{")]
        (warning,) = [line for line in logged if line["event"] == "settings_unknown"]
        assert warning["details"] == {"names": ["AGENT_NAME", "SERVICE_X_PORT"], "count": 2}
        assert agent.stop() == 0


def test_a_taken_port_is_one_line_and_exit_code_1(system: System) -> None:
    taken = f"{HOST}:{system.service_port}"
    with system.agent(AGENT_HTTP_LISTEN=taken) as agent:
        assert agent.process.wait(20) == 1
        said = f"vertice: cannot listen on {taken} for HTTP: the port is taken by "
        assert agent.output().startswith(said)
        assert agent.output().endswith("); stop it, or set AGENT_HTTP_LISTEN to another port\n"), "the holder has a pid"


def test_a_state_folder_that_is_open_to_all_is_not_used_and_the_log_says_how_to_mend_it(system: System) -> None:
    folder = system.folder / "state"
    folder.mkdir()
    folder.chmod(0o777)
    planted = '{"epoch": 9007199254740991, "instance_ids": {"osint_service:1": "a b"}}'
    (folder / "identity.json").write_text(planted)
    with system.agent(AGENT_STATE_DIR=str(folder)) as agent:
        wait_until(lambda: "agent_started" in agent.output(), "it starts")
        (line,) = [line for line in agent.output().splitlines() if '"state_not_kept"' in line]
        assert f"every user may write to it: chmod o-w {folder}" in json.loads(line)["details"]["because"]
        assert agent.stop() == 0
    assert (folder / "identity.json").read_text() == planted
    assert [path.name for path in folder.iterdir()] == ["identity.json"]
