"""The zones whose names are discovered ones: the given one, or those of the agents in the files."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from cli.commands.compose_zone import add_zone, zones_for
from cli.compose.errors import ComposeError
from cli.compose.reader import read_project

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
