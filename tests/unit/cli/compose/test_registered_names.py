"""Under which name each service of a fleet is registered."""

from __future__ import annotations

import pytest

from cli.compose.inject import injected
from cli.compose.reader import project_of
from cli.compose.registered_names import RegisteredNames
from cli.compose.sidecar_plan import planned
from cli.compose.sidecars import Options, Recipe, without_agents
from registry_core.domain.names import label_of


def names_of(services: str, project: str = "shop") -> RegisteredNames:
    return RegisteredNames(project_of([("c.yml", f"name: {project}\nservices: {{{services}}}".encode())]))


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("web_shop", "web_shop"),
        ("db", "db-shop"),
        ("e", "e-shop"),
        ("Web", "web"),
        ("UI", "ui-shop"),
        ("api.v1", "api-v1"),
        ("_hidden", "hidden"),
        ("My.Store_", "my-store"),
        ("i-0123456789ab", "i-0123456789ab-shop"),
    ],
)
def test_a_name_that_cannot_be_registered_is_changed_as_little_as_possible(service: str, name: str) -> None:
    found = names_of(f"{service}: {{image: x}}")
    assert found.of(service).name == name
    assert found.service_of(name) == found.service_of(name.upper().replace("-", "_")) == service
    assert bool(found.of(service).why) == (service != name)


@pytest.mark.parametrize("service", ["x" * 64, "'...'"])
def test_a_name_that_cannot_be_mended_has_none(service: str) -> None:
    found = names_of(f"{service}: {{image: x}}").of(service.strip("'"))
    assert found.name is None
    assert found.why


def test_the_label_chooses_a_name() -> None:
    found = names_of("db: {labels: {vertice.name: orders-store}}, api: {labels: [vertice.name=front]}")
    assert (found.of("db").name, found.of("api").name) == ("orders-store", "front")
    assert (found.service_of("orders_store"), found.service_of("api")) == ("db", None)
    wrong = names_of("db: {labels: {vertice.name: DB}}").of("db")
    assert (wrong.name, wrong.why) == (
        None,
        "its label vertice.name: a service name has at least 3 characters, this one has 2",
    )


def test_a_changed_name_is_one_that_nobody_has() -> None:
    found = names_of("Web: {image: x}, web: {image: x}, WEB: {image: x}, a.b: {image: x}, a_b: {image: x}")
    assert [found.of(name).name for name in ("Web", "web", "WEB", "a.b", "a_b")] == [
        "web-shop",
        "web",
        None,
        "a-b-shop",
        "a_b",
    ]
    assert label_of("a_b") == "a-b"


def test_agents_have_no_name_and_take_none() -> None:
    found = names_of("web: {labels: {vertice.sidecar: netns}}, Web: {image: x}")
    assert (found.of("web").name, found.of("Web").name) == (None, "web")


def test_a_project_without_a_usable_name_has_a_suffix_all_the_same() -> None:
    assert names_of("db: {image: x}", "'...'").of("db").name == "db-service"


@pytest.mark.parametrize("recipe", [Recipe.NETNS, Recipe.BESIDE])
def test_a_service_keeps_the_name_that_its_agent_registers(recipe: Recipe) -> None:
    services = "{db: {expose: [1]}, Web: {expose: [2], labels: {vertice.name: front}}, abc: {expose: [3]}}"
    text = f"name: mall\nservices: {services}\n"
    options = Options(recipe=recipe)
    sidecars = list(planned(project_of([("c.yml", text.encode())]), options).sidecars)
    inside = injected(text, sidecars, options).replace("name: mall", "name: other").replace(": front", ": lobby")
    names = RegisteredNames(without_agents(project_of([("c.yml", inside.encode())])))
    # The file's own label counts before what the agent was told.
    assert [names.of(name).name for name in ("db", "Web", "abc")] == ["db-mall", "lobby", "abc"]
