"""What is left to do after agents were added."""

from __future__ import annotations

import msgspec
import pytest

from cli.compose.next_steps import SetupState, next_steps
from cli.compose.sidecars import Options

START = SetupState(
    files=("compose.yml", "compose.vertice.yml"), env_file=".env", source="/src", has_registry=True, has_token=True
)
OWN = Options(image="reg.example/agent:1")
UP = "docker compose -f compose.yml -f compose.vertice.yml up -d"


def steps(options: Options, **changes: object) -> list[str]:
    return [str(step) for step in next_steps(options, msgspec.structs.replace(START, **changes))]


def test_a_fleet_with_an_image_a_registry_and_a_secret_is_started() -> None:
    assert steps(OWN) == [UP]


def test_the_image_of_the_agents_is_built_unless_one_is_named() -> None:
    first, last = steps(Options())
    assert first.startswith("docker build -t vertice-agent -f /src/Dockerfile.agent /src    # ")
    assert last == UP


def test_the_registry_s_image_is_built_where_a_registry_was_added() -> None:
    assert steps(msgspec.structs.replace(OWN, registry_image="vertice-registry"))[0].startswith(
        "docker build -t vertice-registry -f /src/Dockerfile.registry /src"
    )
    assert steps(msgspec.structs.replace(OWN, registry_image="reg.example/registry:1")) == [UP]


def test_without_the_sources_the_folder_is_the_reader_s_own() -> None:
    first = steps(Options(), source="")[0]
    assert "-f Dockerfile.agent ." in first
    assert first.endswith("(in the folder with the sources of Vértice)")


def test_podman_has_its_own_programs() -> None:
    first, last = steps(Options(podman=True))
    assert first.startswith("podman build --format docker -t vertice-agent")
    assert last.startswith("podman-compose -f compose.yml")


def test_a_missing_registry_is_said_with_both_ways_out() -> None:
    first = steps(OWN, has_registry=False)[0]
    assert first.startswith("# the agents have no registry")
    assert "--with-registry" in first
    assert "--registry URL" in first


@pytest.mark.parametrize(("image", "value"), [("reg.example/r", "$(openssl rand -hex 24)"), ("", "SECRET")])
def test_a_missing_secret_is_made_for_our_registry_and_asked_for_with_another(image: str, value: str) -> None:
    options = msgspec.structs.replace(OWN, registry_image=image)
    said = steps(options, has_token=False, env_file="my fleet/.env")[0]
    assert said.startswith(f"echo \"REGISTRY_SECRET={value}\" >> 'my fleet/.env'    # the secret")


def test_nothing_is_started_when_nothing_was_written() -> None:
    assert steps(OWN, files=()) == []
