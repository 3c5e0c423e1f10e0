"""The images: their content, the user they run as, and how they start and end."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.compose.topology import PYTHON, dns_addresses, get
from tests.programs import wait_until
from tools.engine import ROOT, Engine, EngineFailed
from tools.sbom import bill_of

pytestmark = pytest.mark.timeout(300)

# As strict as possible.
STRICT = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
PORT_53 = ("--sysctl", "net.ipv4.ip_unprivileged_port_start=0")
LOCKS = {"agent": "requirements-agent.lock", "registry": "requirements.lock"}
SETTINGS = {
    "agent": ("AGENT_DNS_ALLOW=0.0.0.0/0", "AGENT_HTTP_LISTEN=:8880"),
    "registry": ("REGISTRY_SECRET=s3cret",),
}
NOBODY = 10001
Start = Callable[..., str]


@pytest.fixture
def start(engine: Engine, images: dict[str, str]) -> Iterator[Start]:
    """Return a function that starts a container of an image, which is removed at the end."""
    names: list[str] = []

    def started(part: str, *words: str, command: tuple[str, ...] = (), settings: tuple[str, ...] = ()) -> str:
        names.append(f"vertice-test-{secrets.token_hex(4)}")
        told = [word for one in (*SETTINGS[part], *settings) for word in ("-e", one)]
        engine.run("run", "-d", "--name", names[-1], *told, *words, images[part], *command)
        return names[-1]

    yield started
    for name in names:
        engine.remove(name)


# What the markers of a lock may ask about, as the Python in an image answers it.
ENVIRONMENT = """
import json, os, platform, sys
print(json.dumps({
    "implementation_name": sys.implementation.name,
    "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(),
    "platform_system": platform.system(),
    "python_full_version": platform.python_version(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
}))
"""


def locked(engine: Engine, image: str, part: str) -> dict[str, str]:
    """Return the packages that the lock names for the Python of an image, without those only for installing."""
    environment = json.loads(inside(engine, image, "python", "-c", ENVIRONMENT))
    text = (ROOT / LOCKS[part]).read_text(encoding="utf-8")
    lines = (line.removesuffix("\\") for line in text.splitlines() if re.match("[a-z0-9]", line))
    found = {}
    for one in map(Requirement, lines):
        if one.marker is None or one.marker.evaluate(environment):
            (version,) = one.specifier
            found[one.name] = version.version
    found.pop("setuptools")
    return found


def inside(engine: Engine, image: str, *argv: str) -> str:
    """Run a program in its own container and return its output."""
    return engine.run("run", "--rm", "--network", "none", "--entrypoint", argv[0], image, *argv[1:])


def health(engine: Engine, container: str) -> str:
    """Return the result of the health check, run now where the engine allows that."""
    if engine.is_docker:
        return str(engine.inspect(container)["State"]["Health"]["Status"])
    try:
        engine.run("healthcheck", "run", container)
    except EngineFailed:
        return "unhealthy"
    return "healthy"


def states(engine: Engine, container: str) -> dict[int, tuple[str, str]]:
    """Return name and state of each process in a container, by its id."""
    program = (
        "import glob, json, re\n"
        "found = {}\n"
        "for path in glob.glob('/proc/[0-9]*/stat'):\n"
        "    try: pid, name, state = re.match(r'(\\d+) \\((.*)\\) (.)', open(path).read()).groups()\n"
        "    except OSError: continue\n"
        "    found[pid] = name, state\n"
        "print(json.dumps(found))\n"
    )
    said: dict[str, Any] = json.loads(engine.run("exec", container, "python", "-c", program))
    return {int(pid): (name, state) for pid, (name, state) in said.items()}


@pytest.mark.parametrize("part", ["agent", "registry"])
def test_an_image_contains_exactly_the_packages_of_its_lock(engine: Engine, images: dict[str, str], part: str) -> None:
    program = (
        "import importlib.metadata as m, json, sys; "
        "print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in m.distributions(path=[p for p in "
        "sys.path if p.startswith('/opt/vertice')])}))"
    )
    found = json.loads(inside(engine, images[part], "python", "-c", program))
    assert found.pop("vertice-registry")
    assert found == locked(engine, images[part], part)
    assert ("redis" in found) == (part == "registry")
    # No installer, and nothing of ours but the product.
    files = inside(
        engine, images[part], "find", "/opt/vertice", "-name", "pip*", "-o", "-name", "tests", "-maxdepth", "5"
    )
    assert files.split() == []


def test_a_bill_of_materials_lists_what_the_lock_names(engine: Engine, images: dict[str, str]) -> None:
    bill = json.loads(bill_of(engine, images["agent"]))
    found = {one["name"].lower().replace("_", "-"): one["version"] for one in bill["components"]}
    assert found.pop("vertice-registry")
    assert found == locked(engine, images["agent"], "agent")


@pytest.mark.parametrize("part", ["agent", "registry"])
def test_an_image_has_its_labels(engine: Engine, images: dict[str, str], part: str) -> None:
    image = json.loads(engine.run("image", "inspect", images[part]))[0]
    config = image["Config"]
    assert config["User"] == f"{NOBODY}:{NOBODY}"
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["licenses"] == "Apache-2.0"
    assert {"title", "description", "version", "revision", "created"} <= set(labels)
    # Docker and podman keep it in different places.
    assert "healthy.py" in str((config.get("Healthcheck") or image["Healthcheck"])["Test"])


@pytest.mark.parametrize("part", ["agent", "registry"])
def test_an_image_runs_unprivileged_on_a_read_only_file_system_without_capabilities(
    engine: Engine, start: Start, images: dict[str, str], measured: Callable[[str], None], part: str
) -> None:
    def answers() -> bool:
        if part == "registry":
            return get(f"http://{engine.address(name)}:8888/ready") is not None
        return get(f"http://{engine.address(name)}:8880/live") is not None

    began = time.monotonic()
    name = start(part, *STRICT, *PORT_53)
    wait_until(answers, f"the {part} answers", every_s=0.02)
    took_s = time.monotonic() - began
    own, base = (json.loads(engine.run("image", "inspect", image))[0]["Size"] / 1e6 for image in (images[part], PYTHON))
    measured(f"image of the {part}: {own:.0f} MB, of which {own - base:.1f} MB beside the base image")
    measured(f"image of the {part}: {took_s:.2f} s from `run` to its first answer")

    status = engine.run("exec", name, "cat", "/proc/1/status")
    assert re.search(rf"^Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}$", status, re.MULTILINE)
    assert re.findall(r"^Cap\w+:\t(\d+)$", status, re.MULTILINE) == ["0" * 16] * 5
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    with pytest.raises(EngineFailed, match="Read-only file system"):
        engine.run("exec", name, "touch", "/opt/vertice/x")
    if part == "agent":
        # Its names over DNS on port 53, and its state in the only place where it writes.
        assert dns_addresses(engine.address(name), "ns.vertice.internal") == ["127.0.0.1"]
        assert "identity.json" in engine.run("exec", name, "ls", "/var/lib/vertice")


@pytest.mark.parametrize("part", ["agent", "registry"])
def test_sigterm_ends_an_image_cleanly_and_at_once(engine: Engine, start: Start, part: str) -> None:
    name = start(part, *STRICT, *PORT_53)
    wait_until(lambda: health(engine, name) == "healthy", f"the {part} is well", timeout_s=30, every_s=0.2)
    began = time.monotonic()
    engine.run("stop", "-t", "20", name)
    assert time.monotonic() - began < 5  # it did not have to be killed
    assert engine.inspect(name)["State"]["ExitCode"] == 0


def test_process_1_reaps_orphans(engine: Engine, start: Start) -> None:
    name = start("agent", *STRICT, *PORT_53)
    wait_until(lambda: health(engine, name) == "healthy", "the agent is well", timeout_s=30, every_s=0.2)
    assert states(engine, name)[1][0] == "tini"
    # Its parent ends before it does, so that it becomes a child of process 1.
    engine.run("exec", name, "sh", "-c", "(sleep 0.3 & exec true)")
    wait_until(lambda: "sleep" not in {n for n, _ in states(engine, name).values()}, "the orphan is buried")


def test_the_health_check_distinguishes_a_hung_agent_from_one_without_a_registry(engine: Engine, start: Start) -> None:
    name = start("agent", *STRICT, *PORT_53)
    wait_until(lambda: health(engine, name) == "healthy", "well without a registry", timeout_s=30, every_s=0.2)
    (agent,) = (
        pid for pid, (process, _) in states(engine, name).items() if process in {"vertice", "python"} and pid < 20
    )
    engine.run("exec", name, "sh", "-c", f"kill -STOP {agent}")
    wait_until(lambda: health(engine, name) == "unhealthy", "it is noticed", timeout_s=60, every_s=0.5)
    engine.run("exec", name, "sh", "-c", f"kill -CONT {agent}")
    wait_until(lambda: health(engine, name) == "healthy", "it is well again", timeout_s=60, every_s=0.5)


def test_a_forbidden_port_53_is_one_line(engine: Engine, start: Start) -> None:
    name = start("agent", *STRICT, "--sysctl", "net.ipv4.ip_unprivileged_port_start=1024")
    wait_until(lambda: not engine.inspect(name)["State"]["Running"], "it ends")
    assert engine.inspect(name)["State"]["ExitCode"] == 1
    (said,) = (line for line in engine.logs(name).splitlines() if line.startswith("vertice:"))
    assert "53" in said


def test_root_with_one_capability_may_bind_port_53_on_any_network(engine: Engine, start: Start) -> None:
    # For a network whose settings the container cannot change, such as the host's.
    name = start(
        "agent",
        *STRICT,
        *("--cap-add", "NET_BIND_SERVICE", "--user", "0:0", "--tmpfs", "/var/lib/vertice:mode=0700"),
        *("--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"),
    )
    wait_until(
        lambda: dns_addresses(engine.address(name), "ns.vertice.internal") == ["127.0.0.1"], "it answers on port 53"
    )


def test_a_registry_without_a_secret_does_not_start(engine: Engine, start: Start) -> None:
    name = start("registry", *STRICT, settings=("REGISTRY_SECRET=",))
    wait_until(lambda: not engine.inspect(name)["State"]["Running"], "it ends")
    assert engine.inspect(name)["State"]["ExitCode"] == 2
    assert any("REGISTRY_SECRET" in line for line in engine.logs(name).splitlines())
