"""What the commands print and how they end, against real programs."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.programs import VERTICE, free_port, running, wait_until
from tests.scenarios.system import Fleet, status_of

pytestmark = pytest.mark.long


def vertice(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/env", *(f"{k}={v}" for k, v in environment.items()), *VERTICE, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    ("words", "environment", "line"),
    [
        (
            ["services", "--agent", "nowhere"],
            {},
            (
                "vertice: --agent: 'nowhere' cannot be used: it is neither a URL nor host:port "
                "(example: http://127.0.0.1:8880)"
            ),
        ),
        (
            ["resolve", "abc"],
            {"AGENT_HTTP_LISTEN": "nowhere"},
            "vertice: AGENT_HTTP_LISTEN: 'nowhere' cannot be used: it is not host:port (example: 127.0.0.1:8880)",
        ),
        (
            ["watch"],
            {"REGISTRY_URL": "ftp://x"},
            (
                "vertice: REGISTRY_URL: 'ftp://x' cannot be used: it is not a URL such as http://host:port "
                "(example: http://127.0.0.1:8888)"
            ),
        ),
    ],
)
def test_an_invalid_setting_is_one_line_and_ends_with_two(
    words: list[str], environment: dict[str, str], line: str
) -> None:
    done = vertice(*words, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line + "\n")


@pytest.mark.parametrize("words", [["services", "--agent"], ["resolve", "abc", "--agent"], ["watch", "--registry"]])
def test_no_answer_is_one_line_and_ends_with_one(words: list[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = vertice(*words, url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"vertice: no answer from {url}: Connection refused\n"


def test_the_registry_and_the_agent_report_a_taken_port_in_one_line(example_fleet: Fleet) -> None:
    ports = example_fleet.system.ports
    registry = vertice("registry", "--listen", f"127.0.0.1:{ports.registry}")
    agent = vertice("agent", "--http-listen", f"127.0.0.1:{ports.http}", "--dns-listen", f"127.0.0.1:{free_port()}")
    for done, port in ((registry, ports.registry), (agent, ports.http)):
        lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert done.returncode == 1
        assert len(lines) == 1
        assert lines[0].startswith("vertice: ")
        assert str(port) in lines[0]


def test_no_such_service_ends_with_three(example_fleet: Fleet) -> None:
    done = example_fleet.system.vertice("resolve", "nobody-here")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("vertice: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_commands_take_their_addresses_from_the_environment(example_fleet: Fleet) -> None:
    done = vertice("services", "-o", "names", AGENT_HTTP_LISTEN=f"127.0.0.1:{example_fleet.system.ports.http}")
    assert done.returncode == 0
    assert done.stdout.split() == sorted(example_fleet.names)


def test_an_answer_from_something_else_than_an_agent_is_reported(example_fleet: Fleet) -> None:
    url = next(f"http://{i['host']}:{i['port']}" for i in example_fleet.system.catalog())
    done = vertice("services", "--agent", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_closes_its_pipe_is_no_error(example_fleet: Fleet) -> None:
    system = example_fleet.system
    for command in (
        f"services --agent {system.ports.agent_url}",
        f"watch --registry {system.ports.registry_url} --json",
    ):
        line = f"set -o pipefail; {' '.join(VERTICE)} {command} | head -c 5; exit ${{PIPESTATUS[0]}}"
        with subprocess.Popen(
            ["/bin/bash", "-c", line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as done:
            # The watch's next write meets the closed pipe: so something has to happen.
            if command.startswith("watch"):
                changed(example_fleet)
            out, err = done.communicate(timeout=30)
        assert (done.returncode, len(out), err) == (0, 5, "")


def changed(fleet: Fleet) -> None:
    """Let an instance of the fleet fail its check and recover."""
    where = next(
        f"http://{i['host']}:{i['port']}" for i in fleet.system.catalog() if i["service_name"] == fleet.names[0]
    )
    assert status_of(f"{where}/fail", "POST") == 200
    wait_until(lambda: statuses(fleet) == {"critical"}, "it is critical", timeout_s=30)
    assert status_of(f"{where}/recover", "POST") == 200
    wait_until(lambda: statuses(fleet) == {"passing"}, "it is passing", timeout_s=30)


def statuses(fleet: Fleet) -> set[str]:
    return {i["status"] for i in fleet.system.catalog() if i["service_name"] == fleet.names[0]}


def test_the_watch_shows_every_change_of_its_service(example_fleet: Fleet, tmp_path: Path) -> None:
    url = example_fleet.system.ports.registry_url
    name = example_fleet.names[0]
    text = [*VERTICE, "watch", name, "--registry", url]
    with (
        running(text, tmp_path / "text.log") as as_text,
        running([*text, "--json"], tmp_path / "json.log") as as_json,
    ):
        wait_until(lambda: "watching 1 service, 1 instance" in as_text.output(), "it begins")
        wait_until(lambda: "snapshot" in as_json.output(), "it begins")
        changed(example_fleet)
        wait_until(lambda: "critical -> passing" in as_text.output(), "the changes are shown")
        assert f"~ {name} " in as_text.output()
        assert "passing -> critical" in as_text.output()
        wait_until(lambda: as_json.output().count("\n") >= 3, "the changes are shown")
        lines = [json.loads(line) for line in as_json.output().splitlines()]
        assert [(line["type"], line.get("status")) for line in lines[:3]] == [
            ("snapshot", None),
            ("status_changed", "critical"),
            ("status_changed", "passing"),
        ]
        as_text.signal(signal.SIGINT)
        assert as_text.process.wait(10) == 130


def test_a_watch_of_an_invalid_name_is_wrong_usage(example_fleet: Fleet) -> None:
    done = vertice("watch", "X", "--registry", example_fleet.system.ports.registry_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "vertice: a service name has at least 3 characters, this one has 1\n"


def test_a_watch_of_another_server_ends_with_one(tmp_path: Path) -> None:
    port = free_port()
    answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"
    with socket.create_server(("127.0.0.1", port)) as server:
        watch = [*VERTICE, "watch", "--registry", f"http://127.0.0.1:{port}"]
        with running(watch, tmp_path / "watch.log") as program:
            server.settimeout(20)
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer.encode())
                assert program.process.wait(20) == 1
            assert program.output() == f"vertice: http://127.0.0.1:{port} answers, but not with a watch stream\n"


def test_the_watch_continues_when_the_registry_comes_back(tmp_path: Path) -> None:
    port = free_port()
    registry = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with running(registry, tmp_path / "first.log"):
        wait_until(lambda: status_of(f"{url}/live") == 200, "it listens")
        watching = running([*VERTICE, "watch", "--registry", url], tmp_path / "watch.log")
        watch = watching.__enter__()
        wait_until(lambda: "watching 0 services" in watch.output(), "it begins")
    try:
        wait_until(lambda: "trying again" in watch.output(), "the break is said")
        with running(registry, tmp_path / "second.log"):
            wait_until(lambda: status_of(f"{url}/live") == 200, "it is back")
            body = json.dumps({"service_name": "abc", "host": "10.0.0.1", "port": 8000})
            done = subprocess.run(
                ["curl", "-sS", "--fail", "-H", "Content-Type: application/json", "-d", body, f"{url}/register"],
                capture_output=True,
                timeout=30,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            wait_until(lambda: "+ abc 10.0.0.1:8000 passing" in watch.output(), "it goes on", timeout_s=30)
        assert watch.output().count("trying again") >= 1
        watch.signal(signal.SIGINT)
        assert watch.process.wait(10) == 130
    finally:
        watching.__exit__(None, None, None)
