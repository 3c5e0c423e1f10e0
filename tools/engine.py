"""Finds this machine's container engine and runs its commands.

It takes Docker with its compose plugin if the engine answers, else podman with podman-compose. A `docker` program
without a running engine does not count.

usage: python -m tools.engine [SETUP]     prints the engine; SETUP is a script that installs one
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
# The first version that supports `network_mode: "service:x"` and required variables.
PODMAN_COMPOSE: Final = (1, 3)
MISSING: Final = (
    "make compose-test needs containers: Docker with its compose plugin and a running engine, or podman with "
    "podman-compose 1.3 or newer (apt-get install podman; pip install podman-compose)"
)


class EngineFailed(Exception):
    """Raised when a command of the engine fails or times out."""


def ran(argv: list[str], *, timeout_s: float, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """Run a program from the project's root and return its output. Raises EngineFailed."""
    try:
        done = subprocess.run(
            argv,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineFailed(f"{' '.join(argv)}: {error}") from None
    if check and done.returncode:
        raise EngineFailed(
            f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
    return done.stdout


class Engine:
    """Docker or podman. Both support the commands used here."""

    def __init__(self, name: str, compose: list[str]) -> None:
        self.name = name
        self.compose_command = compose

    @property
    def is_docker(self) -> bool:
        return self.name == "docker"

    def run(self, *words: str, timeout_s: float = 60, check: bool = True) -> str:
        """Run one command of the engine and return its output. Raises EngineFailed."""
        return ran([self.name, *words], timeout_s=timeout_s, check=check)

    def compose(
        self, file: Path, project: str, *words: str, env: Mapping[str, str], timeout_s: float = 120, check: bool = True
    ) -> str:
        """Run one command of compose. Raises EngineFailed."""
        argv = [*self.compose_command, "-p", project, "-f", str(file), *words]
        return ran(argv, timeout_s=timeout_s, env=env, check=check)

    def build(self, dockerfile: Path, tag: str, *, context: Path = ROOT, timeout_s: float = 300) -> None:
        """Build an image. Raises EngineFailed."""
        words = ["build", "--network", "host"]
        if not self.is_docker:
            # podman's own format has no HEALTHCHECK; chroot isolation also works inside an unprivileged container.
            words += ["--format", "docker", "--isolation", "chroot"]
        self.run(*words, "-f", str(dockerfile), "-t", tag, str(context), timeout_s=timeout_s)

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the engine knows of a container."""
        found: dict[str, Any] = json.loads(self.run("inspect", container))[0]
        return found

    def logs(self, container: str) -> str:
        """Return a container's output, stderr and stdout together."""
        done = subprocess.run(
            [self.name, "logs", container],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
        return done.stdout

    def remove(self, container: str) -> None:
        """Kill a container and remove it with its anonymous volumes."""
        self.run("kill", container, check=False)
        self.run("rm", "-f", "-v", container, check=False)

    def address(self, container: str) -> str:
        """Return the container's address in its only network."""
        networks = self.inspect(container)["NetworkSettings"]["Networks"]
        addresses = [network["IPAddress"] for network in networks.values()]
        assert len(addresses) == 1, f"{container}: {addresses}"
        return str(addresses[0])


def _answers(*argv: str) -> str | None:
    if shutil.which(argv[0]) is None:
        return None
    try:
        return ran(list(argv), timeout_s=20)
    except EngineFailed:
        return None


def find() -> Engine | None:
    """Return the engine of this machine, or None."""
    if _answers("docker", "info") is not None and _answers("docker", "compose", "version") is not None:
        return Engine("docker", ["docker", "compose"])
    if _answers("podman", "info") is not None:
        said = _answers("podman-compose", "--version") or ""
        version = re.search(r"podman-compose version:?\s*(\d+)\.(\d+)", said)
        if version is not None and (int(version[1]), int(version[2])) >= PODMAN_COMPOSE:
            # Without pods, so that a test can run its own program in a container's namespace.
            return Engine("podman", ["podman-compose", "--in-pod", "false"])
    return None


def main() -> int:
    """Print the engine, installing one with SETUP if there is none; without one print a line and return 1."""
    engine = find()
    if engine is None and len(sys.argv) > 1:
        subprocess.run(["/bin/bash", sys.argv[1]], check=False, timeout=900)
        engine = find()
    if engine is None:
        sys.stderr.write(f"{MISSING}\n")
        return 1
    sys.stdout.write(f"containers: {engine.name}, {' '.join(engine.compose_command)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
