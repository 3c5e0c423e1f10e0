"""Discovered names become names of services again."""

from __future__ import annotations

import pytest

from cli.compose.reader import project_of
from cli.compose.undo_rewrite import undone
from cli.compose.value_edits import Rewriting

FLEET = """\
services:
  shop:
    environment:
      {variable}: {value}
  cart_keeper: {{ports: ["9010:8010"]}}
  apart: {{expose: [8040], networks: [back]}}
networks: {{back: }}
"""


def undo(text: str, *zones: str) -> Rewriting:
    return undone(text, project_of([("c.yml", text.encode())]), zones or ["vertice.internal"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("http://cart-keeper.vertice.internal:8010/a?b=c#d", "http://cart_keeper:8010/a?b=c#d"),
        ("http://cart-keeper.vertice.internal:9010/a", "http://cart_keeper:8010/a"),
        ("http://cart-keeper.vertice.internal:4318", "http://cart_keeper:4318"),
        ("http://cart-keeper.vertice.internal", "http://cart_keeper"),
        ("cart-keeper.vertice.internal", "cart_keeper"),
        ("'a,http://cart-keeper.vertice.internal:8010'  # why", "'a,http://cart_keeper:8010'  # why"),
    ],
)
def test_a_name_becomes_the_services_and_a_port_of_the_host_the_containers(before: str, after: str) -> None:
    found = undo(FLEET.format(variable="CART_URL", value=before))
    assert found.text == FLEET.format(variable="CART_URL", value=after)
    assert len(found.changes) == 1
    assert found.unchanged == ()


def test_a_host_and_its_port_are_turned_back_together() -> None:
    value = "cart-keeper.vertice.internal\n      CART_PORT: 9010"
    found = undo(FLEET.format(variable="CART_HOST", value=value))
    assert "CART_HOST: cart_keeper\n      CART_PORT: 8010\n" in found.text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("http://nobody.vertice.internal:80", "no service of the file has that discovered name"),
        ("http://apart.vertice.internal:8040", "shares no network with apart"),
        ("http://${CART:-cart-keeper.vertice.internal}:8010", "built from variables"),
    ],
)
def test_what_cannot_be_turned_back_stays_with_the_reason(value: str, reason: str) -> None:
    text = FLEET.format(variable="CART_URL", value=value)
    found = undo(text)
    assert found.text == text
    assert reason in found.unchanged[0].reason


def test_other_addresses_and_other_zones_stay() -> None:
    text = FLEET.format(variable="CART_URL", value="http://cart_keeper:9010,http://cart-keeper.shop.test:8010")
    assert undo(text).text == text
    assert "http://cart_keeper:9010,http://cart_keeper:8010" in undo(text, "shop.test").text
