"""`vertice compose inject`: wrong arguments write nothing and end with 2, right ones say what is left to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.commands import command

SHOP = """\
services:
  web: {image: acme/web, ports: ["8000:80"], networks: [front]}
  api: {image: acme/api, expose: [9000], networks: [front]}
networks: {front: }
"""
HOST = ("--recipe", "host", "--host-address", "10.0.0.7")
UP = "docker compose -f compose.yml -f compose.vertice.yml up -d"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "compose.yml"
    path.write_text(SHOP)
    return path


def inject(shop: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return command("compose", "inject", shop.name, *words, cwd=shop.parent, **environment)


def steps(shop: Path, *words: str, **environment: str) -> list[str]:
    said = inject(shop, *words, **environment).stdout
    return [line.strip() for line in said.partition("Next:\n")[2].splitlines()]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--registry", "foo"), "it is not a URL"),
        (("--registry", ""), "it names no registry"),
        (("--registry", "http://nosuch:8888"), "no service of the file is called nosuch"),
        (("--registry", "http://localhost:8888"), "reaches its own container"),
        ((*HOST, "--registry", "http://api:8888"), "api is a name among containers"),
        (("--memory", "lots"), "it is not an amount of memory"),
        (("--memory", "1M"), "no limit below 6M"),
        (("--cpus", "many"), "it is not a number of processors"),
        (("--image", ""), "it is empty"),
        (("--image", "My Agent"), "it is not an image"),
        (("--forward", "dns.google"), "is not an IP address"),
        (("--forward", "127.0.0.11"), "in a circle"),
        (("--recipe", "host", "--host-address", "gateway"), "it is not an IP address"),
        (("--recipe", "host", "--host-address", "127.0.0.1"), "containers reach themselves there"),
        (("--recipe", "host"), "recipe host needs --host-address"),
        (("--host-address", "10.0.0.7"), "--host-address is for recipe host"),
        (("--recipe", "beside", "--forward", "10.0.0.2"), "--forward is not for recipe beside"),
        (("--recipe", "beside", "--podman"), "--podman is for recipe netns"),
        ((*HOST, "--podman"), "--podman is for recipe netns"),
        (("--registry-image", "x"), "--registry-image is for --with-registry"),
        (("--with-registry", "--registry", "http://a.example"), "cannot be combined with --with-registry"),
        (("--service", "nosuch"), "it has no service 'nosuch'"),
        (("--zone", "a b"), "it is not a domain name"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(shop: Path, words: tuple[str, ...], reason: str) -> None:
    for where in ((), ("--write",), ("--to", "agents.yml")):
        done = inject(shop, *words, *where)
        assert (done.returncode, done.stdout) == (2, "")
        assert reason in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert shop.read_text() == SHOP
    assert [path.name for path in shop.parent.iterdir()] == ["compose.yml"]


def test_a_second_registry_of_the_same_name_is_refused(shop: Path) -> None:
    shop.write_text(
        SHOP.replace("networks: {front", "  vertice-registry: {image: x, expose: [8888]}\nnetworks: {front")
    )
    done = inject(shop, "--with-registry")
    assert done.returncode == 2
    assert "it has a service vertice-registry already" in done.stderr


def test_the_missing_steps_are_printed_down_to_the_start(shop: Path) -> None:
    image, registry, secret, start = steps(shop)
    assert image.startswith("docker build -t vertice-agent -f ")
    assert registry.startswith("# the agents have no registry")
    assert secret.startswith('echo "REGISTRY_SECRET=SECRET" >> .env')
    assert start == UP
    assert steps(shop) == [image, registry, secret, start]  # also where the file is up to date


def test_the_older_name_of_the_secret_is_enough_for_a_registry_of_your_own(shop: Path) -> None:
    words = ("--image", "reg.example/agent:1", "--registry", "http://10.0.0.2:8888")
    assert steps(shop, *words, VERTICE_REGISTRY_TOKEN="s3cret-s3cret") == [UP]
    written = (shop.parent / "compose.vertice.yml").read_text()
    assert '    VERTICE_REGISTRY_TOKEN: "${VERTICE_REGISTRY_TOKEN:-}"\n' in written
    assert '    REGISTRY_SECRET: "${REGISTRY_SECRET:-}"\n' in written


def test_with_a_registry_and_an_image_the_start_is_all_that_is_left(shop: Path) -> None:
    words = ("--image", "reg.example/agent:1", "--with-registry", "--registry-image", "reg.example/registry:1")
    secret, start = steps(shop, *words)
    assert secret.startswith('echo "REGISTRY_SECRET=$(openssl rand -hex 24)" >> .env')
    assert start == UP
    assert steps(shop, *words, REGISTRY_SECRET="s3cret-s3cret") == [UP]
    (shop.parent / ".env").write_text("REGISTRY_SECRET=s3cret-s3cret\n")
    assert steps(shop, *words) == [UP]
    (shop.parent / ".env").write_text("VERTICE_REGISTRY_TOKEN=s3cret-s3cret\n")  # the registry does not read it
    assert [step.split("=")[0] for step in steps(shop, *words)] == ['echo "REGISTRY_SECRET', UP]
    written = yaml.safe_load((shop.parent / "compose.vertice.yml").read_text())["services"]
    assert written["vertice-registry"]["image"] == "reg.example/registry:1"
    assert "s3cret-s3cret" not in (shop.parent / "compose.vertice.yml").read_text()


def test_a_registry_that_the_host_s_agent_would_ask_is_missing_unless_it_is_added(shop: Path) -> None:
    assert any("the agents have no registry" in step for step in steps(shop, *HOST))
    assert not any("the agents have no registry" in step for step in steps(shop, *HOST, "--with-registry"))
    written = yaml.safe_load((shop.parent / "compose.vertice.yml").read_text())["services"]
    assert written["vertice-registry"]["ports"] == ["127.0.0.1:8888:8888"]
    assert written["vertice-agent"]["environment"]["REGISTRY_URL"] == "http://127.0.0.1:8888"


def test_in_place_the_registry_goes_with_the_agents(shop: Path) -> None:
    assert steps(shop, "--with-registry", "--write")[-1] == "docker compose -f compose.yml up -d"
    assert "vertice-registry:" in shop.read_text()
    assert command("compose", "audit", shop).returncode in (0, 1)
    assert command("compose", "rewrite", shop).returncode == 0
    assert command("compose", "eject", shop, "--write").returncode == 0
    assert shop.read_text() == SHOP


def test_an_override_file_on_standard_output_is_the_whole_of_it(shop: Path) -> None:
    done = inject(shop, "--with-registry", "--to", "-")
    assert "docker compose -f compose.yml -f compose.vertice.yml up -d" in done.stdout.splitlines()[1]
    assert "vertice-registry" in yaml.safe_load(done.stdout)["services"]
    assert "Next:" in done.stderr
    assert "up -d" not in done.stderr


def test_variables_are_left_to_compose(shop: Path) -> None:
    done = inject(
        shop, "--image", "reg.example/agent:${TAG:-1}", "--registry", "${REGISTRY}", "--memory", "${MEM:-64M}"
    )
    assert done.returncode == 0
    shared = yaml.safe_load((shop.parent / "compose.vertice.yml").read_text())["x-vertice-agent"]
    assert shared["image"] == "reg.example/agent:${TAG:-1}"
    assert shared["environment"]["REGISTRY_URL"] == "${REGISTRY}"


def test_little_memory_is_noted(shop: Path) -> None:
    assert "note: --memory 16M: an agent in a large fleet needs 64M" in inject(shop, "--memory", "16M").stdout
