"""Debian calls each machine 127.0.1.1: an agent there does not register that at a registry that is elsewhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.dns_servers import address_in_the_network
from tests.programs import VERTICE, Program, find, free_port, running, wait_until
from tests.scenarios.two_releases import ask

# Has a host name of its own, and a hosts file that says what Debian's does.
DEBIAN = 'hostname vm7 && mount --bind "$0" /etc/hosts && exec "$@"'


def why_not() -> str:
    if os.geteuid() != 0:
        return "only root can give a program a hosts file of its own"
    argv = [find("unshare"), "--mount", "--uts", "true"]
    return "" if subprocess.run(argv, timeout=20, check=False).returncode == 0 else "unshare does not work here"


WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"NOT PROVEN HERE: {WHY_NOT}")


@pytest.fixture
def within(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n127.0.1.1 vm7\n")
    sh = shutil.which("sh") or "/bin/sh"
    return (find("unshare"), "--mount", "--uts", sh, "-c", DEBIAN, str(tmp_path / "hosts"))


@contextlib.contextmanager
def registry(tmp_path: Path, host: str) -> Iterator[tuple[Program, int]]:
    port = free_port()
    settings = {"REGISTRY_AUTH": "off", "REGISTRY_WARMING": "0"}
    argv = [*VERTICE, "registry", "--listen", f"{host}:{port}"]
    with running(argv, tmp_path / "registry.log", settings) as program:
        wait_until(lambda: ask(port, "GET", "/ready")[0] == 200, "the registry is ready")
        yield program, port


@contextlib.contextmanager
def agent(tmp_path: Path, within: tuple[str, ...], url: str, host: str = "") -> Iterator[tuple[Program, int]]:
    http = free_port()
    settings = {
        "REGISTRY_URL": url,
        "SERVICE_NAME": "billing",
        "SERVICE_HOST": host,
        "SERVICE_PORT": "8034",
        "AGENT_CHECK": "none",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_DRAIN_WAIT": "0",
    }
    with running([*within, *VERTICE, "agent"], tmp_path / "agent.log", settings) as program:
        yield program, http


def is_registered(port: int) -> bool:
    return bool(ask(port, "GET", "/services/billing")[0] == 200)


def test_a_name_that_nobody_chose_is_not_registered_elsewhere_and_the_reason_is_shown(
    tmp_path: Path, within: tuple[str, ...]
) -> None:
    with registry(tmp_path, "") as (_, port):
        url = f"http://{address_in_the_network()}:{port}"
        with agent(tmp_path, within, url) as (program, http):
            wait_until(lambda: '"refused"' in program.output(), "the agent says so")
            assert "this machine's name vm7 is 127.0.1.1, which is loopback" in program.output()
            assert "SERVICE_HOST is not set" in ask(http, "GET", "/self")[1]["services"][0]["problem"]
            assert not is_registered(port)


@pytest.mark.parametrize("host", ["127.0.1.1", "localhost", "169.254.7.7"])
def test_an_address_that_somebody_chose_is_not_registered_either(
    tmp_path: Path, within: tuple[str, ...], host: str
) -> None:
    with registry(tmp_path, "") as (_, port):
        url = f"http://{address_in_the_network()}:{port}"
        with agent(tmp_path, within, url, host) as (program, http):
            wait_until(lambda: '"refused"' in program.output(), "the agent says so")
            problem = ask(http, "GET", "/self")[1]["services"][0]["problem"]
            assert f"SERVICE_HOST is {host}" in problem
            assert "example: SERVICE_HOST=10.0.0.7" in problem
            assert not is_registered(port)


def test_the_registry_warns_of_a_sidecar_that_registers_loopback(tmp_path: Path) -> None:
    with registry(tmp_path, "") as (replica, port):
        claim = {"service_name": "billing", "endpoint": "http://127.0.0.1:8034"}
        for _ in range(2):
            assert ask(port, "POST", "/register", claim)[0] == 201
        wait_until(lambda: '"loopback registered"' in replica.output(), "the replica warns")
        assert replica.output().count('"loopback registered"') == 1


def test_on_one_machine_the_name_is_registered_without_a_word(tmp_path: Path, within: tuple[str, ...]) -> None:
    with (
        registry(tmp_path, "127.0.0.1") as (replica, port),
        agent(tmp_path, within, f"http://localhost:{port}") as (program, _),
    ):
        wait_until(lambda: is_registered(port), "it is registered")
        assert "loopback" not in program.output() + replica.output()
