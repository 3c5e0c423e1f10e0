"""Which images of a fleet are its own."""

from __future__ import annotations

import pytest

from cli.compose.own_images import own_images
from cli.compose.reader import project_of


def own(*services: str) -> list[str]:
    text = "services:\n" + "".join(f"  s{n}: {body}\n" for n, body in enumerate(services))
    return sorted(own_images(project_of([("c.yml", text.encode())])))


def test_an_image_that_is_built_here_is_the_fleets_own() -> None:
    assert own("{build: .}", "{build: ./x, image: acme/x}", "{image: acme/y}", "{image: nginx}") == ["s0", "s1"]


def test_most_images_of_one_account_are_a_deployed_fleets_own() -> None:
    mine = [f"{{image: 'registry.example:5000/shop/s{n}:1'}}" for n in range(5)]
    assert own(*mine, "{image: redis}") == ["s0", "s1", "s2", "s3", "s4"]
    assert own(*mine[:4]) == []
    assert own(*mine, *["{image: other/x}"] * 5) == []


@pytest.mark.parametrize("publisher", ["grafana", "docker.io/bitnami", "ghcr.io/supabase"])
def test_images_of_one_who_publishes_for_everybody_are_not(publisher: str) -> None:
    assert own(*[f"{{image: {publisher}/s{n}}}" for n in range(9)]) == []


def test_a_well_known_image_is_never_the_fleets_own() -> None:
    assert own(*["{image: shop/x}"] * 5, "{image: shop/rabbitmq}") == ["s0", "s1", "s2", "s3", "s4"]
