"""Where an agent can run: what each place looks like from inside, and what happens when a part restarts."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.compose.embedded_dns import OUTSIDE_ADDRESS
from tests.compose.topology import PYTHON, Topology, instances, running
from tests.programs import wait_until
from tools.engine import ROOT, Engine, EngineFailed

# A name of the Internet that this machine can resolve.
OUTSIDE_NAME = os.environ.get("OUTSIDE_NAME", "example.com")
WEB = "web.vertice.internal"
# From the start of an agent until every agent resolves its service.
SOON_S = 15.0
Measured = Callable[[str], None]

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("images")]


def forwarding(engine: Engine, net: int) -> dict[str, str]:
    """Return where the engine resolves the names of containers: podman at the gateway of the network."""
    return {} if engine.is_docker else {"ENGINE_DNS": f"172.28.{net}.1"}


def status(recipe: Topology, service: str = "web") -> dict[str, str]:
    return instances(f"{recipe.address('registry')}:8888", service)


def is_served(recipe: Topology, service: str = "web") -> None:
    wait_until(lambda: "passing" in status(recipe, service).values(), f"{service} is registered", timeout_s=SOON_S)


def resolves(recipe: Topology, service: str, *names: str) -> bool:
    return None not in recipe.seen_by(service, *names)


def outside(measured: Measured) -> list[str]:
    """Return Internet names, or none where this machine resolves none, which is reported."""
    try:
        socket.gethostbyname(OUTSIDE_NAME)
    except OSError:
        measured(f"not shown: names of the world ({OUTSIDE_NAME} is not known here; OUTSIDE_NAME names another)")
        return []
    return [OUTSIDE_NAME]


def until(condition: Callable[[], bool], what: str, timeout_s: float = SOON_S) -> float:
    """Wait for the condition and return how long that took, in seconds."""
    began = time.monotonic()
    wait_until(condition, what, timeout_s=timeout_s)
    return time.monotonic() - began


# -- in the service's own namespace


def test_an_agent_in_the_services_namespace_answers_every_program_in_it(engine: Engine, measured: Measured) -> None:
    with running(engine, "recipes/namespace.yml", **forwarding(engine, 54)) as recipe:
        is_served(recipe)
        names = [WEB, "registry", *outside(measured)]
        wait_until(lambda: resolves(recipe, "web", *names), "the service, a container and the world are found")
        assert recipe.seen_by("web", WEB, "registry") == [recipe.address("web"), recipe.address("registry")]
        assert recipe.seen_by("web", "nobody.vertice.internal") == [None]

        # Its restart costs names for a moment: it deregisters its service before it ends, and then nothing answers.
        recipe.command("stop", "web-agent", "-t", "15")
        assert status(recipe) == {}
        assert recipe.seen_by("web", WEB, "registry") == [None, None]
        recipe.command("start", "web-agent")
        names_s = until(lambda: resolves(recipe, "web", WEB, "registry"), "names are back")
        measured(f"namespace: {names_s:.1f} s from the agent's start to its first names")
        is_served(recipe)


def test_in_the_services_namespace_the_agent_follows_a_service_that_restarts(
    engine: Engine, measured: Measured
) -> None:
    with running(engine, "recipes/namespace.yml", **forwarding(engine, 54)) as recipe:
        is_served(recipe)
        recipe.command("restart", "web", "-t", "2")
        # The new service has a new namespace. The agent is still in the old one, where only `lo` is left: it ends by
        # itself, and its restart puts it into the new one.
        took_s = until(
            lambda: status(recipe) == {recipe.address("web"): "passing"} and resolves(recipe, "web", WEB, "registry"),
            "it is found where it is now, and finds others",
            timeout_s=40,
        )
        measured(f"namespace: {took_s:.1f} s from the service's restart to its new address and to its own names")
        assert "namespace_gone" in recipe.log("web-agent")


def test_in_the_services_namespace_the_agent_cannot_start_first(engine: Engine) -> None:
    with running(engine, "recipes/namespace.yml", "registry", **forwarding(engine, 54)) as recipe:
        # There is no namespace to join yet: compose starts the service first.
        recipe.up("web-agent")
        assert recipe.is_running("web")
        is_served(recipe)
        # With the service stopped, the agent has nowhere to start.
        recipe.command("kill", "web-agent")
        recipe.command("stop", "web", "-t", "2")
        with contextlib.suppress(EngineFailed):  # podman starts dependencies first
            recipe.command("start", "web-agent")
        assert recipe.is_running("web-agent") <= recipe.is_running("web")


# -- in a persistent namespace


def test_in_a_persistent_namespace_service_and_agent_restart_independently(engine: Engine, measured: Measured) -> None:
    with running(engine, "recipes/shared-namespace.yml", **forwarding(engine, 55)) as recipe:
        is_served(recipe)
        address = recipe.address("web")
        wait_until(lambda: resolves(recipe, "web-service", WEB, "registry"), "names are found")

        recipe.command("restart", "web-service", "-t", "2")
        assert resolves(recipe, "web-service", WEB, "registry")
        took_s = until(lambda: status(recipe) == {address: "passing"}, "it is served at the same address")
        measured(f"shared-namespace: served {took_s:.1f} s after the service's restart, names never away")

        # The checks notice a service that is down, and one that is back.
        recipe.command("stop", "web-service", "-t", "2")
        down_s = until(lambda: status(recipe) == {address: "critical"}, "its end is noticed", timeout_s=30)
        recipe.command("start", "web-service")
        up_s = until(lambda: status(recipe) == {address: "passing"}, "its return is noticed", timeout_s=30)
        measured(f"shared-namespace: a stopped service is critical after {down_s:.1f} s, back after {up_s:.1f} s")

        recipe.command("restart", "web-agent", "-t", "15")
        wait_until(lambda: resolves(recipe, "web-service", WEB, "registry"), "names are back")
        wait_until(lambda: status(recipe) == {address: "passing"}, "it is served again")


def test_in_a_persistent_namespace_the_order_does_not_matter(engine: Engine) -> None:
    with running(engine, "recipes/shared-namespace.yml", "web", "web-agent", **forwarding(engine, 55)) as recipe:
        time.sleep(3)
        assert recipe.is_running("web-agent")  # without a service to register, and without a registry
        recipe.up("web-service")
        recipe.up("registry")
        wait_until(
            lambda: status(recipe) == {recipe.address("web"): "passing"}, "it is found all the same", timeout_s=30
        )


# -- beside the service


def test_an_agent_beside_its_service_survives_it_and_learns_its_new_address(engine: Engine, measured: Measured) -> None:
    with running(engine, "recipes/beside.yml") as recipe:
        is_served(recipe)
        names = [WEB, "registry", *outside(measured)]
        wait_until(lambda: resolves(recipe, "web", *names), "the service, a container and the world are found")
        ask = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"
        said = recipe.run("web", "python", "-c", ask, "http://web-agent:8880/resolve/web?format=url")
        assert said.split() == ["http://web:8080"]

        recipe.command("restart", "web", "-t", "2")
        assert resolves(recipe, "web", WEB)
        took_s = until(
            lambda: status(recipe) == {recipe.address("web"): "passing"}, "it is known where it is now", timeout_s=60
        )
        measured(f"beside: {took_s:.1f} s from the service's restart until everybody has its address")

        recipe.command("stop", "web", "-t", "2")
        down_s = until(lambda: "passing" not in status(recipe).values(), "its end is noticed", timeout_s=30)
        measured(f"beside: a stopped service is no longer passing after {down_s:.1f} s")


def test_only_its_own_service_misses_an_agent_beside_it(engine: Engine) -> None:
    with running(engine, "recipes/beside.yml") as recipe:
        is_served(recipe)
        recipe.command("kill", "web-agent")
        # Other agents resolve the service until its lease expires; its own lookups fail.
        assert status(recipe) == {recipe.address("web"): "passing"}
        assert recipe.seen_by("web", WEB) == [None]
        recipe.command("start", "web-agent")
        wait_until(lambda: resolves(recipe, "web", WEB, "registry"), "names are back")
        assert status(recipe) == {recipe.address("web"): "passing"}


def test_beside_the_service_the_order_does_not_matter(engine: Engine) -> None:
    with running(engine, "recipes/beside.yml", "web-agent") as recipe:
        time.sleep(3)
        assert recipe.is_running("web-agent")
        recipe.up("registry")
        recipe.up("web")
        wait_until(lambda: "passing" in status(recipe).values(), "it is found all the same", timeout_s=30)


# -- one for the host


def test_one_agent_registers_all_services_of_a_host(engine: Engine, measured: Measured) -> None:
    with running(engine, "recipes/host.yml") as recipe:
        is_served(recipe, "web")
        is_served(recipe, "shop")
        names = [WEB, "shop.vertice.internal", "registry", *outside(measured)]
        for service in ("web", "shop"):
            wait_until(lambda s=service: resolves(recipe, s, *names), "all are found", timeout_s=SOON_S)  # type: ignore[misc]

        # One stopped service affects no other.
        recipe.command("stop", "shop", "-t", "2")
        wait_until(lambda: "passing" not in status(recipe, "shop").values(), "its end is noticed", timeout_s=30)
        assert list(status(recipe, "web").values()) == ["passing"]
        recipe.command("start", "shop")
        is_served(recipe, "shop")

        # The agent's end affects everything: no names on this host, and all of its services deregistered.
        recipe.command("stop", "agent", "-t", "20")
        assert (status(recipe, "web"), status(recipe, "shop")) == ({}, {})
        assert recipe.seen_by("web", "shop.vertice.internal", "registry") == [None, None]
        recipe.command("start", "agent")
        took_s = until(lambda: resolves(recipe, "web", *names), "names are back")
        is_served(recipe, "web")
        is_served(recipe, "shop")
        measured(f"host: {took_s:.1f} s from the agent's start until its host has names again")


# -- Docker's resolver


@contextlib.contextmanager
def stand_in(recipe: Topology, network: str, *words: str) -> Iterator[str]:
    """Run a resolver that behaves as Docker's does; yield its container's name."""
    name = f"{recipe.project}-resolver-{len(words[0])}"
    program = ROOT / "tests" / "compose" / "embedded_dns.py"
    mount = ("-v", f"{program}:/embedded_dns.py:ro")
    recipe.engine.run(
        "run", "-d", "--name", name, "--network", network, *mount, PYTHON, "python", "/embedded_dns.py", *words
    )
    try:
        wait_until(lambda: "ready" in recipe.engine.logs(name), "the resolver answers")
        yield name
    finally:
        recipe.engine.remove(name)


@contextlib.contextmanager
def dockers_resolver(recipe: Topology, outside_of_it: str) -> Iterator[None]:
    """Run a resolver at 127.0.0.11 in the namespace of `web`; it forwards Internet names to `outside_of_it`."""
    with stand_in(recipe, f"container:{recipe.container('web')}", "127.0.0.11", "172.28.54.1", outside_of_it):
        yield


def asked_of(recipe: Topology, server: str, name: str) -> str:
    """Return the rcode and the last address in a resolver's answer in the namespace of `web`."""
    program = (
        "import socket, sys\n"
        "server, name = sys.argv[1:]\n"
        "labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))\n"
        "query = b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + labels + b'\\0\\0\\1\\0\\1'\n"
        "face = socket.socket(type=socket.SOCK_DGRAM)\n"
        "face.settimeout(8)\n"
        "face.connect((server, 53))\n"
        "face.send(query)\n"
        "try: answer = face.recv(4096)\n"
        "except OSError: print('silence'); sys.exit()\n"
        "print(answer[3] & 15, socket.inet_ntoa(answer[-4:]) if answer[7] else '-')\n"
    )
    return recipe.run("web", "python", "-c", program, server, name).strip()


def resolvers(recipe: Topology) -> dict[str, str]:
    """Return the state of each resolver that the agent of `web` uses."""
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8880/health', timeout=5).read().decode())"
    health = json.loads(recipe.run("web", "python", "-c", ask))
    return {one["server"]: one["state"] for one in health["components"]["forwarding"]["upstreams"]}


ONLY_STAND_IN = "Docker has a resolver of its own at 127.0.0.11; this test needs one that it can set up"


def test_with_dockers_resolver_behind_the_agent_all_names_resolve(engine: Engine) -> None:
    # The recipe unchanged: resolv.conf names the agent, which forwards to 127.0.0.11.
    if engine.is_docker:
        pytest.skip(ONLY_STAND_IN)  # the tests above are the same, with Docker's own resolver
    with running(engine, "recipes/namespace.yml") as recipe, dockers_resolver(recipe, "answers"):
        is_served(recipe)
        wait_until(lambda: resolves(recipe, "web", WEB, "registry"), "the service and a container are found")
        assert recipe.seen_by("web", WEB, "registry") == [recipe.address("web"), recipe.address("registry")]
        assert recipe.seen_by("web", "www.example.com") == [OUTSIDE_ADDRESS]
        assert resolvers(recipe) == {"127.0.0.11:53": "up"}


def test_with_the_agent_behind_dockers_resolver_the_loop_is_found_and_our_names_still_resolve(engine: Engine) -> None:
    # As with `dns: 127.0.0.1`: programs ask 127.0.0.11, which asks the agent, which would ask 127.0.0.11.
    if engine.is_docker:
        pytest.skip(ONLY_STAND_IN)
    with running(engine, "recipes/namespace.yml") as recipe, dockers_resolver(recipe, "127.0.0.1"):
        is_served(recipe)
        began = time.monotonic()
        wait_until(
            lambda: asked_of(recipe, "127.0.0.11", "www.example.com") == "2 -", "the world is refused", timeout_s=20
        )
        assert resolvers(recipe) == {"127.0.0.11:53": "looping"}
        assert time.monotonic() - began < 20
        # Once found, it costs no query any time; the agent's own names are not affected.
        began = time.monotonic()
        assert asked_of(recipe, "127.0.0.11", "www.example.org") == "2 -"
        refused = time.monotonic()
        assert asked_of(recipe, "127.0.0.11", WEB) == f"0 {recipe.address('web')}"
        answered = time.monotonic()
        assert asked_of(recipe, "127.0.0.11", "registry") == f"0 {recipe.address('registry')}"
        # To start a program in a container takes its time, which is the same for both.
        assert (refused - began) - (answered - refused) < 1.5


def test_with_the_agent_behind_dockers_resolver_an_outside_resolver_fixes_the_loop(engine: Engine) -> None:
    if engine.is_docker:
        pytest.skip(ONLY_STAND_IN)
    with (
        running(engine, "recipes/namespace.yml", "registry") as recipe,
        stand_in(recipe, f"{recipe.project}_default", "0.0.0.0", "-", "answers") as outer,
    ):
        recipe.env["ENGINE_DNS"] = engine.address(outer)
        recipe.up("web", "web-agent")
        with dockers_resolver(recipe, "127.0.0.1"):
            is_served(recipe)
            assert asked_of(recipe, "127.0.0.11", "www.example.com") == f"0 {OUTSIDE_ADDRESS}"
            assert asked_of(recipe, "127.0.0.11", WEB) == f"0 {recipe.address('web')}"
            assert asked_of(recipe, "127.0.0.11", "registry") == f"0 {recipe.address('registry')}"
            assert list(resolvers(recipe).values()) == ["up"]
