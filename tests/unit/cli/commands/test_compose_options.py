"""The arguments of the commands that add agents: what they become, and which do not go together."""

from __future__ import annotations

import argparse

import pytest

from cli.commands.compose_options import add_agents, add_recipe, all_options_of, options_of
from cli.compose.errors import ComposeError
from cli.compose.reader import project_of
from cli.compose.sidecars import REGISTRY, Options, Recipe
from cli.parser import CommandParser

PROJECT = project_of([("c.yml", b"services: {web: {image: x, ports: ['8888:80']}}")], {})
HOST = ("--recipe", "host", "--host-address", "10.0.0.7")


def read(*words: str) -> argparse.Namespace:
    parser = CommandParser("vertice compose inject", "", "")
    parser.add_argument("file")
    add_recipe(parser, default=Recipe.NETNS)
    add_agents(parser)
    return parser.read(["c.yml", *words])


def test_without_arguments_the_options_are_the_defaults() -> None:
    assert options_of(read()) == Options()
    assert all_options_of(read(), PROJECT) == Options()


def test_arguments_become_options() -> None:
    words = ("--image", "a/b:1", "--memory", "64M", "--cpus", ".5", "--forward", "10.0.0.2", "--zone", "Shop.test")
    found = all_options_of(read(*words, "--registry", "http://r.example", "--podman"), PROJECT)
    assert found == Options(
        image="a/b:1",
        memory="64M",
        cpus=".5",
        forward="10.0.0.2",
        zone="shop.test",
        registry="http://r.example",
        podman=True,
    )


def test_a_registry_is_added_at_a_port_of_the_host_that_is_free() -> None:
    found = all_options_of(read("--with-registry"), PROJECT)
    assert (found.registry, found.registry_image, found.registry_port) == (REGISTRY, "vertice-registry", 8889)
    found = all_options_of(read(*HOST, "--with-registry", "--registry-image", "x"), PROJECT)
    assert (found.registry, found.registry_image) == ("http://127.0.0.1:8889", "x")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--recipe", "host"), "needs --host-address"),
        (("--host-address", "10.0.0.7"), "is for recipe host"),
        ((*HOST, "--podman"), "is for recipe netns"),
        (("--recipe", "beside", "--forward", "10.0.0.2"), "answer no lookups"),
        (("--forward", "system"), "in a circle"),
        (("--registry-image", "x"), "is for --with-registry"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(words: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ComposeError, match=reason):
        all_options_of(read(*words), PROJECT)
