"""The life of `vertice dev`: what it refuses, what it survives, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from cli.dev.supervisor import AGENT_STOP_S, COUNT_TIMEOUT_S, REGISTRY_STOP_S
from tests.fleets import EXAMPLE
from tests.programs import VERTICE, accepts, free_port, running, wait_until
from tests.scenarios.system import dev, free_ports, get_json, status_of

pytestmark = pytest.mark.long

SMALL = """
services:
  front_door: {ports: ["8000"]}
  back-door: {ports: ["8000"], scale: 2}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.yml"
    file.write_text(SMALL)
    return file


def vertice(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VERTICE, *words], capture_output=True, text=True, timeout=40, check=False)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_its_end_deregisters_every_service_and_leaves_nothing_running(by: signal.Signals, tmp_path: Path) -> None:
    assert AGENT_STOP_S + COUNT_TIMEOUT_S + REGISTRY_STOP_S < 3
    with dev(EXAMPLE, tmp_path) as system:
        children = system.children()
        assert len(children) == 2
        folder = Path(re.findall(r"^Logs: (.*)$", system.output, re.MULTILINE)[0])
        assert (folder / "agent.log").is_file()
        watch = [*VERTICE, "watch", "--registry", system.ports.registry_url]
        with running(watch, tmp_path / "watch.log") as watching:
            wait_until(lambda: "watching" in watching.output(), "the watch has begun")
            count = len(system.catalog())
            assert system.end(by) == 0
            wait_until(lambda: watching.output().count(" deregistered") == count, "all are seen to go")
        assert f"{count} instances deregistered; 0 left at the registry." in system.output
        assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
        assert not any(accepts(p) for p in (system.ports.registry, system.ports.http, system.ports.dns))
        assert not folder.exists()


def test_lookups_continue_without_the_registry_which_is_restarted(small: Path, tmp_path: Path) -> None:
    with dev(small, tmp_path) as system:
        killed = re.findall(r"^  kill (\d+) ", system.output, re.MULTILINE)[0]
        registry = system.child("registry")
        assert int(killed) == registry.pid
        registry.kill()
        wait_until(lambda: "Lookups continue" in system.output, "the death is said")
        assert system.output.count("The registry was ended by signal 9.") == 1
        assert len(system.srv(["front_door", "back-door"])) == 3
        assert system.vertice("resolve", "front-door").returncode == 0
        again = re.findall(r"^  (.* registry --listen .*)$", system.output, re.MULTILINE)[0]
        with running(["/bin/sh", "-c", f"exec env {again}"], tmp_path / "again.log"):
            wait_until(lambda: status_of(f"{system.ports.registry_url}/live") == 200, "it is back")
            wait_until(lambda: len(system.catalog()) == 3, "the agent has registered everything again", 30)
            wait_until(lambda: get_json(f"{system.ports.registry_url}/live")["state"] == "ready", "it knows all", 30)
            assert len(system.srv(["front_door", "back-door"])) == 3
            assert system.end() == 0
        assert "3 instances deregistered; 0 left at the registry." in system.output
        assert "The logs stay in" in system.output


def test_the_death_of_the_agent_is_reported_and_the_rest_continues(small: Path, tmp_path: Path) -> None:
    with dev(small, tmp_path) as system:
        system.child("agent").kill()
        wait_until(lambda: "The rest continues without the agent." in system.output, "the death is said")
        assert status_of(f"{system.ports.registry_url}/live") == 200
        assert system.end() == 0


def test_its_children_end_when_it_is_killed(small: Path, tmp_path: Path) -> None:
    with dev(small, tmp_path) as system:
        children = system.children()
        system.end(signal.SIGKILL)
        wait_until(lambda: not any(accepts(p) for p in (system.ports.registry, system.ports.http)), "all have ended")
        wait_until(lambda: not any(psutil.pid_exists(c.pid) and c.is_running() for c in children), "none is left")


def test_an_interrupt_during_the_start_leaves_nothing_running(tmp_path: Path) -> None:
    ports = free_ports()
    flags = [f"--registry-port={ports.registry}", f"--http-port={ports.http}", f"--dns-port={ports.dns}"]
    with running([*VERTICE, "dev", *flags], tmp_path / "dev.log") as program:
        wait_until(lambda: accepts(ports.registry), "the registry has started")
        program.signal(signal.SIGINT)
        assert program.process.wait(20) == 0
        assert not any(accepts(p) for p in (ports.registry, ports.http, ports.dns))


def test_it_ends_and_leaves_nothing_when_nobody_reads_it_any_more(small: Path) -> None:
    ports = free_ports()
    flags = [f"--registry-port={ports.registry}", f"--http-port={ports.http}", f"--dns-port={ports.dns}"]
    argv = [*VERTICE, "dev", str(small), *flags]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        said = ""
        while "Ctrl-C ends everything" not in said:
            said += program.stdout.readline()
        children = psutil.Process(program.pid).children(recursive=True)
        program.stdout.close()
        assert program.wait(60) == 0
        assert program.stderr.read() == ""
    assert len(children) == 2
    assert not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
    assert not Path(re.findall(r"^Logs: (.*)$", said, re.MULTILINE)[0]).exists()


@pytest.mark.parametrize("name", ["registry", "http", "dns"])
def test_a_taken_port_is_one_line_and_nothing_is_left_running(name: str, small: Path) -> None:
    ports = {"registry": free_port(), "http": free_port(), "dns": free_port()}
    with socket.create_server(("127.0.0.1", ports[name])):
        done = vertice("dev", str(small), *(f"--{face}-port={port}" for face, port in ports.items()))
    assert done.returncode == 1
    said = done.stderr
    assert said.startswith(f"vertice: cannot listen on 127.0.0.1:{ports[name]}: the port is taken by ")
    assert said.endswith(f"(pid {os.getpid()}); stop it, or set --{name}-port to another port\n")
    assert not any(accepts(port) for port in ports.values())


def test_a_child_that_cannot_start_is_one_line_and_nothing_is_left_running(small: Path) -> None:
    port, dns = free_port(), free_port()
    done = vertice("dev", str(small), f"--registry-port={port}", f"--http-port={port}", f"--dns-port={dns}")
    assert done.returncode == 1
    assert done.stderr.startswith("vertice: the agent ended while starting: ")
    assert str(port) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not accepts(port)


def test_an_unavailable_address_is_a_finding_and_the_rest_continues(small: Path, tmp_path: Path) -> None:
    # A listener on every address keeps a stand-in from using the same port.
    port = free_port()
    small.write_text(SMALL.replace('front_door: {ports: ["8000"]}', f'front_door: {{ports: ["{port}"]}}'))
    with socket.create_server(("", port)), dev(small, tmp_path) as system:
        assert re.search(rf"front_door: cannot listen on 127\.\d+\.0\.1:{port}: ", system.output)
        assert system.vertice("services", "-o", "names").stdout.split() == ["back-door"]


def test_a_fleet_without_a_usable_service_starts_and_reports_it(tmp_path: Path) -> None:
    file = tmp_path / "empty.yml"
    file.write_text("services:\n  worker: {image: x}\n")
    with dev(file, tmp_path) as system:
        assert "There is nothing to look up" in system.output
        assert system.vertice("services", "-o", "names").stdout == ""
        assert system.vertice("resolve", "worker").returncode == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("services:\n  a: [1\n  b: 2\n", ":3: it is not YAML: did not find expected ',' or ']'"),
        ("", ": it is empty"),
        ("version: 3\n", ": it has no `services`, so it is not a compose file"),
        (None, ": No such file or directory"),
    ],
)
def test_an_invalid_compose_file_is_one_line_and_exit_code_two(text: str | None, line: str, tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    if text is not None:
        file.write_text(text)
    done = vertice("dev", str(file))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"vertice: {file}{line}\n")


def test_check_lists_everything_and_starts_nothing(small: Path) -> None:
    done = vertice("dev", str(EXAMPLE), "--check")
    assert done.returncode == 1
    assert done.stdout.count("\n  - ") == 7
    done = vertice("dev", str(small), "--check")
    assert (done.returncode, done.stdout) == (0, f"{small}: 2 services, of which 2 can be used.\n")


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_an_invalid_port_is_wrong_usage(port: str) -> None:
    done = vertice("dev", "--dns-port", port)
    assert done.returncode == 2
    assert f"vertice: dev: --dns-port: '{port}' cannot be used: " in done.stderr
