"""The zones whose names are discovered ones: the given one, or those of the agents in the files."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from cli.commands.compose_zone import add_zone, with_agents_names, zones_for
from cli.compose.errors import ComposeError
from cli.compose.reader import read_project
from cli.compose.registered_names import RegisteredNames

FLEET = "services: {shop: {}}\n"
AGENTS = "services: {a: {labels: {vertice.sidecar: netns}, environment: {AGENT_DNS_ZONE: shop.test}}}\n"


def zones(folder: Path, zone: str | None = None, override: Path | None = None) -> list[str]:
    path = folder / "compose.yml"
    path.write_text(FLEET)
    return zones_for(path, read_project([path]), zone, {}, override)


def test_without_agents_it_is_the_usual_one(tmp_path: Path) -> None:
    assert zones(tmp_path) == ["vertice.internal"]


def test_the_agents_in_the_override_file_say_theirs(tmp_path: Path) -> None:
    (tmp_path / "compose.vertice.yml").write_text(AGENTS)
    assert zones(tmp_path) == ["vertice.internal", "shop.test"]
    other = tmp_path / "other.yml"
    other.write_text(AGENTS.replace("shop.test", "other.test"))
    assert zones(tmp_path, override=other) == ["vertice.internal", "other.test"]


def test_the_given_zone_is_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "compose.vertice.yml").write_text(AGENTS)
    parser = argparse.ArgumentParser()
    add_zone(parser)
    assert zones(tmp_path, parser.parse_args(["--zone", "mine.test"]).zone) == ["mine.test"]
    assert parser.parse_args([]).zone is None


def test_an_override_file_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "compose.vertice.yml").write_text("[")
    assert zones(tmp_path) == ["vertice.internal"]


@pytest.mark.parametrize("zone", ["", "a b", "x:1", "-"])
def test_a_zone_that_is_no_name_is_refused(zone: str, tmp_path: Path) -> None:
    with pytest.raises(ComposeError, match="--zone"):
        zones(tmp_path, zone)


NAMES = """\
services:
  agent:
    network_mode: "service:db"
    labels: {vertice.sidecar: netns}
    environment: {SERVICE_NAME: db-mall, SERVICE_PORT: "8000"}
"""


def test_the_names_that_agents_in_the_override_file_register_stay(tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text("name: shop\nservices: {db: {image: x}}\n")
    project = read_project([path])

    def name(override: Path | None = None) -> str | None:
        return RegisteredNames(with_agents_names(path, project, {}, override)).of("db").name

    assert name() == "db-shop"
    other = tmp_path / "other.yml"
    other.write_text(NAMES)
    assert name(other) == "db-mall"
    other.rename(tmp_path / "compose.vertice.yml")
    assert name() == "db-mall"
    (tmp_path / "compose.vertice.yml").write_text("[")
    assert name() == "db-shop"
