"""A running `vertice dev`, and the foreign programs that query it: dig and curl."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from cli.dev.guide import Ports
from cli.dev.plan import Plan
from tests.programs import VERTICE, Program, find, free_port, wait_until

UP = "Ctrl-C ends everything."


def free_ports() -> Ports:
    """Return three ports that are free."""
    return Ports(free_port(), free_port(), free_port())


class Srv(NamedTuple):
    """One SRV record of an answer."""

    owner: str
    port: int
    target: str


class Dev:
    """A running `vertice dev`."""

    def __init__(self, program: Program, ports: Ports) -> None:
        self.program = program
        self.ports = ports

    @property
    def output(self) -> str:
        return self.program.output()

    def children(self) -> list[psutil.Process]:
        """Return the registry and the agent."""
        return psutil.Process(self.program.pid).children()

    def child(self, name: str) -> psutil.Process:
        """Return one of the children."""
        return next(c for c in self.children() if name in c.cmdline())

    def end(self, by: signal.Signals = signal.SIGINT) -> int:
        """Send it a signal, as a terminal would, and return its exit code."""
        self.program.signal(by)
        return self.program.process.wait(20)

    # -- asking

    def dig(self, *queries: str, tcp: bool = False) -> list[list[str]]:
        """Return the fields of each record that dig shows in the ANSWER sections of all queries."""
        words: list[str] = []
        for query in queries:
            words += [*query.split(), "+noall", "+answer", "+tcp" if tcp else "+notcp", "+timeout=5"]
        out = run([find("dig"), "@127.0.0.1", "-p", str(self.ports.dns), *words])
        return [line.split() for line in out.splitlines() if line and not line.startswith(";")]

    def srv(self, names: Iterable[str]) -> list[Srv]:
        """Return the SRV records of services, from dig."""
        records = self.dig(*(f"_{name}._tcp.vertice.internal SRV" for name in names))
        return [Srv(r[0].lower(), int(r[6]), r[7]) for r in records if r[3] == "SRV"]

    def curl(self, paths: Iterable[str]) -> list[str]:
        """Return the agent's answers, from one curl that fails on every error."""
        urls = [f"http://127.0.0.1:{self.ports.http}{path}" for path in paths]
        # Only text has a line end of its own.
        return list(filter(None, run([find("curl"), "-sS", "--fail", "-w", "\\n", *urls]).splitlines()))

    def vertice(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of our commands against it."""
        at = ["--registry", self.ports.registry_url] if words[0] == "watch" else ["--agent", self.ports.agent_url]
        return subprocess.run([*VERTICE, *words, *at], capture_output=True, text=True, timeout=30, check=False)

    def catalog(self) -> list[dict[str, Any]]:
        """Return every instance that the registry knows; none either while it cannot tell whether there are any."""
        try:
            instances: list[dict[str, Any]] = get_json(f"{self.ports.registry_url}/catalog")["instances"]
        except urllib.error.HTTPError as error:
            with error:
                return []
        return instances


class Fleet:
    """A running fleet: the system, and the services of its file that can run on this machine."""

    def __init__(self, system: Dev, plan: Plan) -> None:
        self.system = system
        self.plan = plan
        # Another program's port, or one below 1024 without root: we cannot have it either.
        refused = {s.name for s in plan.services if not _can_listen(s.port)}
        self.refused = [s.name for s in plan.services if s.name in refused]
        self.services = [s for s in plan.services if s.name not in refused]
        self.names = [s.name for s in self.services]


def _can_listen(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_server(("127.119.0.1", port)):
        return True
    return False


def run(argv: list[str]) -> str:
    """Run a program that must succeed, and return its output."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{argv[0]}: {done.returncode} {done.stderr}{done.stdout}"
    return done.stdout


def get_json(url: str) -> Any:
    """Return the JSON at a URL."""
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)


def health_of(base_url: str) -> Any:
    """Return the body of `/health`, also of a program that says that it is unhealthy."""
    try:
        return get_json(f"{base_url}/health")
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return json.load(error)


def known_services(base_url: str) -> list[str] | None:
    """Return the services that an agent or a registry lists; None while it cannot tell."""
    try:
        names: list[str] = get_json(f"{base_url}/services")
    except urllib.error.HTTPError as error:
        with error:
            return None
    return names


def status_of(url: str, method: str = "GET") -> int:
    """Return the status of a URL's answer; 0 when there is none."""
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@contextlib.contextmanager
def dev(file: Path, folder: Path) -> Iterator[Dev]:
    """Run `vertice dev` on a compose file, on free ports, for the duration of a `with`."""
    ports = free_ports()
    flags = [f"--registry-port={ports.registry}", f"--http-port={ports.http}", f"--dns-port={ports.dns}"]
    program = Program([*VERTICE, "dev", str(file), *flags], folder / "dev.log", {"TMPDIR": str(folder)})
    try:
        wait_until(lambda: UP in program.output() or program.process.poll() is not None, "it is up", timeout_s=45)
        assert program.process.poll() is None, program.output()
        yield Dev(program, ports)
    finally:
        program.stop()
        sys.stdout.write(program.output())  # shown by pytest when the test failed


def listed(output: str, heading: str) -> list[str]:
    """Return the findings under the heading that begins with these words."""
    found = re.search(rf"^{heading}.* \(\d+\):\n((?:  .*\n)*)", output, re.MULTILINE)
    return [line.strip() for line in found[1].splitlines()] if found else []
