"""What holds for every command: its JSON can be read, and a server that cannot be reached ends it in the same way.

One registry and one agent serve all of these tests. A command that is added to the tree without a case here fails one.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cli.command_tree import LeafCommand, leaves
from registry_core.security.identities import Role
from registry_core.security.issued_keys import IssuedKey, key_file
from tests.authorities import DOMAIN, PASSPHRASE, authority_in
from tests.commands import command
from tests.programs import VERTICE, accepts, free_port, running, wait_until

FLEET = """\
services:
  shop: {image: shop, expose: [8080], environment: {CART_URL: "http://cart:8010"}}
  cart: {image: cart, expose: [8010]}
"""
# The words behind each command, with {file} for a compose file, {snapshot} for a saved snapshot and {head} for a head.
CASES = {
    "dev": "{file} --check",
    "status": "",
    "services": "",
    "resolve": "web",
    "explain": "web",
    "usage": "",
    "log-level": "",
    "drain": "web --timeout 0",
    "maintenance on": "web",
    "maintenance off": "web",
    "maintenance status": "",
    "guard status": "",
    "guard release": "",
    "keys issue": "--role reader --file {new}",
    "keys rotate": "--service web --file {keys}",
    "keys list": "--file {keys}",
    "keys revoke": "k-00000000000b --file {keys}",
    "snapshot save": "{new}",
    "snapshot restore": "{snapshot} --dry-run",
    "ca init": "--dir {new}-ca --passphrase-file {passphrase}",
    "ca intermediate": "--dir {ca} --passphrase-file {passphrase}",
    "ca issue": "registry --out {new}-registry --dir {ca} --passphrase-file {passphrase}",
    "ca rotate": "announce --dir {ca} --passphrase-file {passphrase}",
    "ca status": "",
    "ca deny": "web",
    "ca allow": "web",
    "ca denied": "",
    "audit verify": "",
    "audit prove": "0",
    "audit consistency": "{head} --update",
    "compose audit": "{file}",
    "compose inject": "{file} --diff",
    "compose eject": "{file}",
    "compose rewrite": "{file} --recipe netns",
    "migrate plan": "{file}",
    "migrate status": "{file}",
    "slo": "--bench {bench}",
    "doctor": "",
}
ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = (
    IssuedKey("k-00000000000a", Role.SERVICE, "a" * 43, ISSUED, service="web"),
    IssuedKey("k-00000000000b", Role.READER, "b" * 43, ISSUED),
)
# These end when they are stopped, or print a stream, which has a test of its own.
ENDLESS = {"registry", "agent", "watch", "top", "audit show"}
LEAVES = {" ".join(leaf.words): leaf for leaf in leaves()}
SERVERS = ("agent", "registry")


class House(NamedTuple):
    """The addresses of a registry and of an agent with one service, and the files that commands are tried with."""

    agent: str
    registry: str
    files: dict[str, str]

    def words(self, name: str) -> list[str]:
        """Return the words of a command, with its address as host:port."""
        words = [*name.split(), *CASES[name].format(**self.files).split()]
        servers = asked(LEAVES[name])
        # This one asks one of them at a time.
        return words + [f"--{one}={getattr(self, one)}" for one in (servers[:1] if name == "log-level" else servers)]


def asked(leaf: LeafCommand) -> list[str]:
    """Return the servers that a command asks."""
    options = {option for action in leaf.parser()._actions for option in action.option_strings}
    return [server for server in SERVERS if f"--{server}" in options and leaf.words != ("compose", "inject")]


def body_of(address: str, path: str) -> Any:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, ValueError):
        return None
    finally:
        connection.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    files = {
        name: str(folder / name) for name in ("file", "snapshot", "new", "keys", "passphrase", "ca", "head", "bench")
    }
    Path(files["file"]).write_text(FLEET)
    Path(files["bench"]).write_text('{"rows": []}')
    Path(files["keys"]).write_bytes(key_file(KEYS))
    Path(files["passphrase"]).write_bytes(PASSPHRASE)
    cert, key = authority_in(Path(files["ca"])).replicas
    registry, agent = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    settings = {
        "SERVICE_NAME": "web",
        "SERVICE_HOST": "127.0.0.1",
        "SERVICE_PORT": registry.partition(":")[2],
        "AGENT_CHECK": "none",
        "REGISTRY_URL": f"http://{registry}",
        "AGENT_HTTP_LISTEN": agent,
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
    }
    with running(
        [*VERTICE, "registry", "--listen", registry],
        folder / "registry.log",
        {
            "REGISTRY_WARMING": "0",
            "REGISTRY_MIN_PORT": "1",
            "REGISTRY_CA_CERT": str(cert),
            "REGISTRY_CA_KEY": str(key),
            "REGISTRY_TRUST_DOMAIN": DOMAIN.trust_domain,
            "REGISTRY_AUDIT": str(folder / "audit"),
        },
    ):
        wait_until(lambda: accepts(int(registry.partition(":")[2])), "the registry listens", 60)
        with running([*VERTICE, "agent"], folder / "agent.log", settings):
            wait_until(lambda: body_of(registry, "/services") == ["web"], "the service is registered", 60)
            wait_until(lambda: (body_of(agent, "/health") or {}).get("status") == "healthy", "the agent knows it", 60)
            found = House(agent, registry, files)
            assert command("snapshot", "save", files["snapshot"], "--registry", registry).returncode == 0
            yield found


def test_every_command_has_a_case() -> None:
    assert {*CASES, *ENDLESS} == set(LEAVES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_json_of_every_command_can_be_read(house: House, name: str) -> None:
    Path(house.files["new"]).unlink(missing_ok=True)
    if name == "ca allow":
        assert command("ca", "deny", "web", f"--registry={house.registry}").returncode == 0
    done = command(*house.words(name), "-o", "json")
    assert done.returncode in (0, 1), done.stderr
    assert isinstance(json.loads(done.stdout), dict | list)
    # Put back into use what other commands look up.
    if name == "drain":
        assert command("drain", "web", "--undo", f"--agent={house.agent}").returncode == 0
    if name == "maintenance on":
        assert command("maintenance", "off", f"--agent={house.agent}").returncode == 0


ASKING = sorted((name, server) for name in {*CASES, "watch", "top"} - {"doctor"} for server in asked(LEAVES[name]))


@pytest.mark.parametrize(("name", "server"), ASKING)
def test_a_server_that_cannot_be_reached_is_one_line_and_the_same_code(house: House, name: str, server: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    words = [*name.split(), *CASES.get(name, "").format(**house.files).split()]
    # It retries for a quarter of a minute, since a registry may be about to fail over.
    for more in ([], ["-o", "json"])[: 1 if name == "snapshot restore" else 2]:
        done = command(*words, f"--{server}", nowhere, *more)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"vertice: no answer from http://{nowhere}: Connection refused")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("name", "server"), ASKING)
def test_an_answer_that_is_nobodys_is_one_line_and_the_same_code(house: House, name: str, server: str) -> None:
    words = [*name.split(), *CASES.get(name, "").format(**house.files).split()]
    with subprocess.Popen(
        # A web server of others: it answers every path with 404 and a page, or does not know the method.
        ["/usr/bin/env", "python3", "-m", "http.server", "--bind", "127.0.0.1", str(port := free_port())],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=Path(house.files["file"]).parent,
    ) as other:
        try:
            wait_until(lambda: accepts(port), "the other server listens", 60)
            done = command(*words, f"--{server}", f"127.0.0.1:{port}")
        finally:
            other.terminate()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("vertice: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["resolve", "explain", "drain", "maintenance on"])
def test_a_service_that_does_not_exist_has_the_same_code_everywhere(house: House, name: str) -> None:
    done = command(*name.split(), "wbe", f"--agent={house.agent}")
    assert done.returncode == 3
    assert "web" in done.stdout + done.stderr


@pytest.mark.parametrize("spelling", ["Web", "web.vertice.internal", "WEB.Vertice.Internal."])
def test_a_name_may_have_capitals_and_the_zone_in_every_command(house: House, spelling: str) -> None:
    for name in ("resolve", "explain", "maintenance off"):
        done = command(*name.split(), spelling, f"--agent={house.agent}")
        assert (done.returncode, done.stderr) == (0, "")
    drained = command("drain", spelling, "--undo", "--agent", house.agent)
    assert (drained.returncode, drained.stderr) == (0, "")


def test_older_spellings_still_do_what_they_did(house: House) -> None:
    agent, registry = f"--agent=http://{house.agent}", f"--registry=http://{house.registry}"
    address = f"http://{house.registry}"
    assert command("services", "--json", agent).stdout == '["web"]\n'
    assert command("resolve", "web", "--format", "url", agent).stdout == f"{address}\n"
    assert command("resolve", "web", "--format", "hostport", agent).stdout == f"{house.registry}\n"
    assert json.loads(command("resolve", "web", "--json", agent).stdout)["service_name"] == "web"
    assert json.loads(command("resolve", "web", "--format", "json", agent).stdout)["service_name"] == "web"
    assert json.loads(command("explain", "web", "--json", agent).stdout)["found"] is True
    assert "shards" in json.loads(command("guard", "status", "--json", registry).stdout)
    assert "findings" in json.loads(command("doctor", "--json", agent).stdout)
    file = house.files["file"]
    assert "counts" in json.loads(command("compose", "audit", file, "--format", "json").stdout)
    assert command("compose", "audit", file, "--format", "dot").stdout.startswith("digraph")
    assert "waves" in json.loads(command("migrate", "plan", file, "--format", "json").stdout)
    assert "counts" in json.loads(command("migrate", "status", file, "--format", "json", registry).stdout)
    assert command("compose", "inject", file, "--output", "-").stdout.startswith("# ")


def test_services_are_listed_with_their_instances_health_and_place(house: House) -> None:
    done = command("services", f"--agent={house.agent}")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["SERVICE", "INSTANCES", "HEALTH", "WHERE"],
        ["web", "1", "passing", house.registry],
    ]
    assert command("services", "-o", "names", f"--agent={house.agent}").stdout == "web\n"


def test_the_status_of_the_agent_names_its_registry_and_its_services(house: House) -> None:
    done = command("status", f"--agent={house.agent}")
    assert done.returncode == 0
    assert f"http://{house.registry}: connected" in done.stdout
    assert "1 service, 1 instance, fresh" in done.stdout
    assert "registered" in next(line for line in done.stdout.splitlines() if line.strip().startswith("web "))


def test_a_service_in_maintenance_is_in_no_answer_until_it_is_off(house: House) -> None:
    agent = f"--agent={house.agent}"
    on = command("maintenance", "on", "web", agent)
    assert on.returncode == 0
    assert on.stdout.startswith(f"web/{house.registry}: in maintenance")
    wait_until(lambda: command("resolve", "web", agent).returncode == 3, "it is not answered")
    assert "in maintenance" in command("maintenance", "status", agent).stdout
    assert command("maintenance", "off", "web", agent).stdout.startswith(f"web/{house.registry}: in use")
    wait_until(lambda: command("resolve", "web", agent).returncode == 0, "it is answered")


def test_a_snapshot_goes_to_standard_output_and_comes_from_standard_input(house: House) -> None:
    registry = f"--registry={house.registry}"
    argv = [*VERTICE, "snapshot", "save", "-", registry]
    saved = subprocess.run(argv, capture_output=True, timeout=60, check=True)
    assert saved.stderr.decode() == f"saved 1 instance of http://{house.registry} to standard output\n"
    assert len(saved.stdout.splitlines()) == 2
    argv = [*VERTICE, "snapshot", "restore", "-", registry, "--dry-run"]
    restored = subprocess.run(argv, input=saved.stdout, capture_output=True, timeout=60, check=True)
    assert b"1 are registered already" in restored.stdout or b"1 is registered already" in restored.stdout


def test_the_lines_of_a_watch_are_json(house: House, tmp_path: Path) -> None:
    words = ["watch", "Web.vertice.internal.", "--registry", house.registry, "-o", "json"]
    with running([*VERTICE, *words], tmp_path / "watch.log") as watch:
        wait_until(lambda: watch.output().count("\n") >= 1, "it begins", 60)
        line = json.loads(watch.output().splitlines()[0])
    assert (line["type"], len(line["instances"])) == ("snapshot", 1)


def test_an_address_without_a_scheme_may_be_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        try:
            taken.bind(("::1", 0))
        except OSError:
            pytest.skip("there is no IPv6 on this machine")
        nowhere = f"[::1]:{taken.getsockname()[1]}"
        done = command("services", "--agent", nowhere)
    assert done.stderr == f"vertice: no answer from http://{nowhere}: Connection refused\n"
