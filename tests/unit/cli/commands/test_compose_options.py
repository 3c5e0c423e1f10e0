"""The options of `vertice compose inject` that do not go together, and those that follow from others."""

from __future__ import annotations

import argparse

import pytest

from cli.commands.compose_options import add_agents, add_recipe, all_options_of
from cli.compose.errors import ComposeError, Place
from cli.compose.model import ComposeService, Project
from cli.compose.sidecars import HOST_REGISTRY, REGISTRY, REGISTRY_IMAGE, REGISTRY_SERVICE, Options, Recipe
from cli.parser import CommandParser

EMPTY = Project("fleet", ("compose.yml",), {}, {})


def read(*words: str) -> argparse.Namespace:
    parser = CommandParser("vertice compose inject", "", "")
    add_agents(parser)
    add_recipe(parser, default=Recipe.NETNS)
    arguments = parser.read(words)
    arguments.file = "compose.yml"
    return arguments


def test_without_words_the_options_are_the_default_ones() -> None:
    assert all_options_of(read(), EMPTY) == Options()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--recipe host", "recipe host needs --host-address"),
        ("--host-address 172.17.0.1", "--host-address is for recipe host"),
        ("--recipe beside --podman", "--podman is for recipe netns"),
        ("--recipe beside --forward 10.0.0.2", "--forward is not for recipe beside"),
        ("--forward 127.0.0.1", "the question would go in a circle"),
        ("--registry-image r:1", "--registry-image is for --with-registry"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words: str, reason: str) -> None:
    with pytest.raises(ComposeError) as raised:
        all_options_of(read(*words.split()), EMPTY)
    assert reason in str(raised.value)
    assert raised.value.code == "usage"


def test_a_registry_that_is_there_already_is_not_added() -> None:
    service = ComposeService(REGISTRY_SERVICE, Place("compose.yml"), {})
    there = Project("fleet", ("compose.yml",), {REGISTRY_SERVICE: service}, {})
    with pytest.raises(ComposeError, match=f"it has a service {REGISTRY_SERVICE} already"):
        all_options_of(read("--with-registry"), there)


@pytest.mark.parametrize(
    ("words", "registry"), [("", REGISTRY), ("--recipe host --host-address 172.17.0.1", HOST_REGISTRY)]
)
def test_an_added_registry_is_reached_where_the_recipe_puts_it(words: str, registry: str) -> None:
    options = all_options_of(read("--with-registry", *words.split()), EMPTY)
    assert (options.registry, options.registry_image) == (registry, REGISTRY_IMAGE)
