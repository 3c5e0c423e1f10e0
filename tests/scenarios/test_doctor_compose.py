"""The doctor in the containers of our own compose files, as network namespaces: it finds no error where there is none.

Each agent has its container's network, processes and resolv.conf, and its settings are those of the compose file. A
container has its engine's name server at 127.0.0.11, which knows the names of the others.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cli.compose.reader import read_project
from tests.networks import Networks, Place, networks, why_not
from tests.programs import ROOT, VERTICE, Program, find, running, wait_until

ENGINE = "nameserver 127.0.0.11\noptions ndots:0\n"
# Of Dockerfile.agent.
IMAGE = {"AGENT_DNS_LISTEN": ":53"}
NAMES = ("registry", "hello", "web")


class Container(NamedTuple):
    """A running program with its own processes and files, in the network of a place."""

    program: Program
    root: Path
    environment: Mapping[str, str]

    def enter(self) -> list[str]:
        """Return the start of a command line that runs a program in it, as `docker exec` does."""
        child = Path("/proc", str(self.program.pid), "task", str(self.program.pid), "children").read_text().split()[0]
        return [find("nsenter"), "--target", child, "--net", "--mount", "--pid", "--"]

    def examined(self) -> dict[str, Any]:
        """Return the doctor's findings by id."""
        argv = [*self.enter(), *VERTICE, "doctor", "--json", "--root", str(self.root)]
        environment = {**os.environ, **self.environment}
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=ROOT)
        assert done.returncode in (0, 1), done.stderr
        return {one["id"]: one for one in json.loads(done.stdout)["findings"]}


class Topology:
    """The services of a compose file, some of which run."""

    def __init__(self, file: Path, both: Networks, folder: Path) -> None:
        self.services = read_project([file], {}).services
        self.both = both
        self.folder = folder

    def environment(self, service: str) -> dict[str, str]:
        return {entry.name: entry.value or "" for entry in self.services[service].environment}

    @contextlib.contextmanager
    def engine(self) -> Iterator[None]:
        """Run the engine's name server in each network."""
        records = [f"--host-record={name},{self.both.majority.host}" for name in NAMES]
        argv = [find("dnsmasq"), "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]
        argv += ["--pid-file=", "--bind-interfaces", "--user=root", "--listen-address=127.0.0.11", "--address=/#/"]
        with contextlib.ExitStack() as stack:
            for place in (self.both.minority, self.both.majority):
                log = self.folder / f"names-{place.host}.log"
                stack.enter_context(running([*place.within, *argv, *records], log))
            yield

    @contextlib.contextmanager
    def container(self, service: str, place: Place, *argv: str, resolv_conf: str = ENGINE) -> Iterator[Container]:
        """Run a program with the settings of a service, as process 1, for the duration of a `with`."""
        root = self.folder / service
        (root / "etc").mkdir(parents=True)
        (root / "resolv.conf").write_text(resolv_conf)
        (root / ".dockerenv").touch()
        for path in ("etc/resolv.conf", "etc/nsswitch.conf", "proc", "lib"):
            (root / path).symlink_to(f"/{path}")
        environment = {**IMAGE, "AGENT_STATE_DIR": str(root / "state"), **self.environment(service)}
        script = f'mount --bind {root / "resolv.conf"} /etc/resolv.conf && exec "$@"'
        alone = [find("unshare"), "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        whole = [*place.within, *alone, find("sh"), "-c", script, "sh", *argv]
        with running(whole, self.folder / f"{service}.log", environment) as program:
            try:
                yield Container(program, root, environment)
            finally:
                sys.stdout.write(program.output())


@pytest.fixture(scope="module")
def both() -> Iterator[Networks]:
    if reason := why_not():
        pytest.skip(f"THE DOCTOR IS NOT SHOWN IN CONTAINERS: {reason}")
    with networks() as joined:
        yield joined


@pytest.fixture(scope="module")
def small(both: Networks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Container, Container]]:
    """Run compose/dev.yml, and yield the agents of the service and of the consumer."""
    dev = Topology(ROOT / "compose" / "dev.yml", both, tmp_path_factory.mktemp("dev"))
    hello = [sys.executable, str(ROOT / "compose" / "example" / "hello.py")]
    registry = {**dev.environment("registry"), "REGISTRY_LISTEN": ":8888"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(dev.engine())
        stack.enter_context(running([*both.majority.within, *hello], dev.folder / "hello.log"))
        argv = [*both.majority.within, *VERTICE, "registry"]
        stack.enter_context(running(argv, dev.folder / "registry.log", registry))
        service = stack.enter_context(dev.container("hello-agent", both.majority, *VERTICE, "agent"))
        consumer = stack.enter_context(dev.container("consumer-agent", both.minority, *VERTICE, "agent"))
        curl = [*both.minority.within, find("curl"), "-sS", "--fail", "-o", os.devnull, "--max-time", "5"]
        url = "http://127.0.0.1:8880/resolve/hello"
        wait_until(
            lambda: subprocess.run([*curl, url], check=False, capture_output=True).returncode == 0, "it is known"
        )
        yield service, consumer


@pytest.mark.parametrize("which", [0, 1], ids=["the service's agent", "the consumer's agent"])
def test_the_smallest_system_has_no_error_and_no_warning(small: tuple[Container, Container], which: int) -> None:
    found = small[which].examined()
    bad = {one["id"]: one["what"] for one in found.values() if one["severity"] in ("error", "warning")}
    # A registry on a busy machine says so.
    assert {id_: what for id_, what in bad.items() if not what.endswith("is in use")} == {}
    assert {"agent", "port-ours", "registry", "token", "clock", "state-dir", "resolv-conf-of-agent"} <= set(found)
    assert ("advertised" in found) is (which == 0)


def test_with_the_resolv_conf_of_the_service_nothing_is_left_out(
    small: tuple[Container, Container], tmp_path: Path
) -> None:
    agent = small[1]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text((ROOT / "compose/resolv.conf").read_text())
    for path in (".dockerenv", "proc", "lib"):
        (tmp_path / path).symlink_to(agent.root / path)
    found = agent._replace(root=tmp_path).examined()
    assert found["resolv-conf"]["what"] == "programs here ask only the agent (127.0.0.1) for names"
    assert "resolv-conf-of-agent" not in found
