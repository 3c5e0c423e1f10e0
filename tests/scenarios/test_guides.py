"""The guides are true: their commands run on a machine that is set up as they say, and their files are accepted."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from agent.settings.settings import read_agent_settings
from registry_core.replica_settings import replica_settings
from tests.guides import GUIDES, block, blocks
from tests.programs import ROOT, Program, find, wait_until
from tests.scenarios.judged import Judged, claim, judged, own_network

pytestmark = pytest.mark.long

COMMANDS = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in sorted(GUIDES.glob("*.md"))
    for number, text in enumerate(blocks(page, "sh"))
]
HERE, THERE = "127.121.3.1", "127.121.3.2"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """A machine with a registry, and a service whose agent is the machine's only name server."""
    folder = tmp_path_factory.mktemp("guides")
    (folder / "bin").mkdir()
    vertice = folder / "bin" / "vertice"
    vertice.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m cli.main "$@"\n')
    vertice.chmod(0o755)
    service = {
        "SERVICE_NAME": "billing",
        "SERVICE_HOST": "10.99.0.1",
        "SERVICE_PORT": "8034",
        "SERVICE_TAGS": "blue",
        "AGENT_CHECK_INTERVAL": "1",
        "AGENT_STATE_DIR": str(folder / "state"),
    }
    resolver = block("asking.md", "resolv.conf")
    with (
        own_network(folder, resolv_conf=resolver, nsswitch_conf="hosts: files dns\n") as network,
        judged(folder, network, **service) as system,
        system.program(*server("billing", "10.99.0.1", 8034), log="billing.log"),
    ):
        yield system


def server(service: str, host: str, port: int) -> list[str]:
    """Return the command of a server that answers with its address."""
    return [sys.executable, "-m", "tests.scenarios.server", service, host, str(port)]


@pytest.mark.parametrize("commands", COMMANDS)
def test_the_commands_of_the_guides_succeed(machine: Judged, commands: str) -> None:
    billing = ("curl", "-sf", "http://127.0.0.1:8880/resolve/billing")
    wait_until(lambda: machine.attempt(*billing).returncode == 0, "the service is registered", timeout_s=30)
    path = f"{machine.folder / 'bin'}:{os.environ['PATH']}"
    script = f"cd {machine.folder}; PATH={path}\n{commands}"
    done = machine.attempt("bash", "-xeuo", "pipefail", "-c", script)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


# -- clients that keep names or connections


@contextlib.contextmanager
def client(machine: Judged, *argv: str, log: str) -> Iterator[Program]:
    """Run a client whose service moves from one server to another as soon as it has reached the first."""
    one, other = claim("moving", HERE, 8035), claim("moving", THERE, 8035)
    machine.register(one)
    with machine.program(*argv, log=log) as program:
        wait_until(lambda: HERE in program.output(), "it has found the first", timeout_s=30)
        machine.register(other)
        machine.deregister(one)
        try:
            yield program
        finally:
            machine.deregister(other)


@contextlib.contextmanager
def answering(machine: Judged, host: str) -> Iterator[None]:
    """Run a server for the duration of a `with`, from when it listens on."""
    with machine.program(*server("moving", host, 8035), log=f"{host}.log"):
        asked = ("curl", "-sf", f"http://{host}:8035/health")
        wait_until(lambda: machine.attempt(*asked).returncode == 0, "it listens", timeout_s=30)
        yield


def latest(program: Program) -> set[str]:
    """Return the last few lines of a program's output."""
    return {line.partition(":")[0] for line in program.output().splitlines()[-4:]}


def judge(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"NOT JUDGED BY {name}: it is not installed")
    return path


def test_a_program_in_java_follows_with_the_guides_setting(machine: Judged, tmp_path: Path) -> None:
    java = judge("java")
    (tmp_path / "Lookup.java").write_text(block("clients.md", "java"))
    argv = (java, "-XX:TieredStopAtLevel=1", "-Dsun.net.inetaddr.ttl=5", str(tmp_path / "Lookup.java"))
    with client(machine, *argv, "moving.vertice.internal", log="java.log") as program:
        # It would be 30 s without.
        wait_until(lambda: latest(program) == {THERE}, "it finds the other", timeout_s=25)


def test_a_program_in_node_leaves_its_connections_with_the_guides_agent(machine: Judged, tmp_path: Path) -> None:
    node = judge("node")
    (tmp_path / "client.mjs").write_text(block("clients.md", "js"))
    (tmp_path / "main.mjs").write_text("""
        import { get } from "./client.mjs";
        for (;;) {
          console.log(JSON.parse(await get("http://moving.vertice.internal:8035/")).instance);
          await new Promise((resume) => setTimeout(resume, 200));
        }
    """)
    with (
        answering(machine, HERE),
        answering(machine, THERE),
        client(machine, node, str(tmp_path / "main.mjs"), log="node.log") as program,
    ):
        wait_until(lambda: latest(program) == {THERE}, "it calls the other", timeout_s=30)


def test_a_channel_of_grpc_follows_with_the_guides_options(machine: Judged) -> None:
    argv = (sys.executable, "-m", "tests.scenarios.grpc_answering")
    with (
        machine.program(*argv, "serve", f"{HERE}:8035", log="grpc-one.log"),
        machine.program(*argv, "serve", f"{THERE}:8035", log="grpc-other.log"),
        client(machine, *argv, "ask", "dns:///moving.vertice.internal:8035", log="grpc.log") as program,
    ):
        wait_until(lambda: latest(program) == {THERE}, "it calls the other", timeout_s=40)


# -- files


def test_the_files_of_an_installation_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(block("installing.md", "toml"))
    secrets = dict(line.split("=", 1) for line in block("installing.md", "ini").splitlines())
    settings = read_agent_settings(secrets, file)
    assert [spec.claim.service_name for spec in settings.services] == ["billing", "mail_relay"]
    registry = dict(line.split("=", 1) for line in block("installing.md", "env").splitlines())
    assert replica_settings(registry).redis is not None


@pytest.mark.parametrize("unit", sorted((ROOT / "systemd").glob("*.service")), ids=lambda unit: unit.stem)
def test_systemd_accepts_the_units(unit: Path, tmp_path: Path) -> None:
    verify = judge("systemd-analyze")
    installed = tmp_path / unit.name
    installed.write_text(unit.read_text().replace("/opt/vertice/bin/vertice", find("true")))
    done = subprocess.run([verify, "verify", str(installed)], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_compose_file_names_the_agents_own_address() -> None:
    services = yaml.safe_load(block("asking.md", "compose"))["services"]
    assert services["web"]["dns"] == [services["agent"]["networks"]["default"]["ipv4_address"]]
