"""The fleet and the waves that `vertice migrate plan` and `status` share."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.commands.migrate import add_waves, fleet_of
from cli.parser import CommandParser

FILE = """\
services:
  shop: {image: shop, expose: [8080], environment: {CART_URL: "http://cart:8010"}}
  cart: {image: cart, expose: [8010]}
"""


@pytest.fixture
def parser() -> CommandParser:
    made = CommandParser("vertice migrate plan", "", "")
    add_waves(made)
    return made


def test_the_waves_follow_the_options(parser: CommandParser, tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(FILE)
    fleet = fleet_of(parser.read([str(file), "--pilot", "1", "--wave-size", "1"]), {})
    assert list(fleet.project.services) == ["shop", "cart"]
    assert len(fleet.waves) == 2
    assert len(fleet_of(parser.read([str(file), "--pilot", "2"]), {}).waves) == 1


@pytest.mark.parametrize("words", [["--pilot", "0"], ["--wave-size", "x"], ["--by", "size"], ["--registry", "a:1"]])
def test_a_wrong_option_is_wrong_usage(parser: CommandParser, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.read(["compose.yml", *words])
    assert ended.value.code == 2
