"""One description over another: what is joined, what is replaced, and where an entry stands."""

from __future__ import annotations

import pytest

from cli.compose.errors import ComposeError
from cli.compose.merge import canonical, merged, without
from cli.compose.tree import Mapping, plain, tree_of


def body(text: str) -> Mapping:
    return canonical(tree_of(text.encode(), "c.yml", {}, _refuse), "folder")


def _refuse(error: ComposeError) -> None:
    raise error


@pytest.mark.parametrize(
    ("base", "over", "result"),
    [
        ("ports: ['1:1', '2:2']", "ports: ['2:2', '1:1', '3:3']", {"ports": ["1:1", "2:2", "3:3"]}),
        ("env_file: [a, b]", "env_file: a", {"env_file": ["folder/a", "folder/b"]}),
        ("command: [a]", "command: [b]", {"command": ["b"]}),
        ("command: [a]", "command: ", {"command": None}),
        ("hostname: a", "hostname: ", {"hostname": "a"}),
        (
            "healthcheck: {test: [a], retries: 1}",
            "healthcheck: {test: [b]}",
            {"healthcheck": {"test": ["b"], "retries": "1"}},
        ),
        ("environment: [A=1, B=1]", "environment: {B: 2, C: }", {"environment": {"A": "1", "B": "2", "C": None}}),
        ("environment: {A: 010, B: '010'}", "{}", {"environment": {"A": "8", "B": "010"}}),
        ("extra_hosts: {a: 1.1.1.1}", "extra_hosts: ['b:2.2.2.2']", {"extra_hosts": ["a=1.1.1.1", "b:2.2.2.2"]}),
        ("networks: [a]", "networks: {a: {aliases: [x]}, b: }", {"networks": {"a": {"aliases": ["x"]}, "b": None}}),
        (
            "depends_on: {a: {condition: service_healthy}}",
            "depends_on: [a]",
            {"depends_on": {"a": {"condition": "service_started", "required": "true"}}},
        ),
        ("build: .", "build: {target: t}", {"build": {"context": "folder", "target": "t"}}),
        ("build: https://example.org/a.git", "{}", {"build": {"context": "https://example.org/a.git"}}),
        ("links: [a, b]", "links: ['a:x', b]", {"links": ["a", "b", "a:x"]}),
    ],
)
def test_one_description_is_merged_over_another(base: str, over: str, result: object) -> None:
    assert plain(merged(body(base), body(over))) == result


def test_a_list_is_not_merged_with_a_map() -> None:
    with pytest.raises(ComposeError, match=r"healthcheck is a list here and a map in c\.yml:1"):
        merged(body("healthcheck: {test: a}"), body("healthcheck: [a]"))


@pytest.mark.parametrize(
    ("reset", "left"),
    [
        (("services", "web", "image"), {"environment": {"A": "1"}, "networks": {"n": None}}),
        (("services", "web", "networks", "n"), {"image": "i", "environment": {"A": "1"}, "networks": {}}),
        (("services", "web", "environment", "A"), {"image": "i", "environment": {"A": "1"}, "networks": {"n": None}}),
        (("services", "db", "image"), {"image": "i", "environment": {"A": "1"}, "networks": {"n": None}}),
    ],
)
def test_a_reset_takes_away_the_entry_of_a_map_and_none_of_a_list(reset: tuple[str, ...], left: object) -> None:
    node = body("{image: i, environment: [A=1], networks: [n]}")
    assert plain(without(node, {reset[:2]: {reset[2:]}}, ("services", "web"))) == left
