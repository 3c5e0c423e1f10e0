"""The registry that is added to a fleet, and the registries that agents cannot reach."""

from __future__ import annotations

import pytest
import yaml

from cli.compose.audit import audit
from cli.compose.discovered_names import zones_of
from cli.compose.inject import ejected, injected, override_text
from cli.compose.interpolation import fill
from cli.compose.model import Project
from cli.compose.reader import project_of
from cli.compose.registry_service import free_host_port, registry_entries, unreached
from cli.compose.sidecar_plan import planned
from cli.compose.sidecars import REGISTRY_SERVICE, Options, Recipe, SidecarSpec
from registry_core.replica_settings import replica_settings

SHOP = """\
services:
  web: {image: acme/web, ports: ["8888:80"], networks: [front]}
  api: {image: acme/api, expose: [9000], networks: [front, back]}
  solo: {image: acme/api, expose: [9000]}
networks: {front: , back: }
"""
OUTSIDE = """\
services:
  web: {image: acme/web, expose: [8000], networks: [shared]}
networks: {shared: {external: true}}
"""
WITH = {
    Recipe.NETNS: Options(registry_image="vertice-registry"),
    Recipe.BESIDE: Options(recipe=Recipe.BESIDE, registry_image="vertice-registry"),
    Recipe.HOST: Options(
        recipe=Recipe.HOST,
        host_address="10.0.0.7",
        registry="http://127.0.0.1:8889",
        registry_image="vertice-registry",
        registry_port=8889,
    ),
}
RECIPES = pytest.mark.parametrize("recipe", Recipe)


def project(text: str, **environment: str) -> Project:
    return project_of([("c.yml", text.encode())], environment)


def sidecars(text: str, options: Options) -> list[SidecarSpec]:
    return list(planned(project(text), options).sidecars)


def reasons(urls: str, text: str, options: Options) -> list[tuple[str, tuple[str, ...]]]:
    found = unreached(urls, project(text), sidecars(text, options), options)
    return [(one.why, one.services) for one in found]


# -- the registry that is added


@RECIPES
def test_the_registry_is_in_the_file_and_in_the_override_file_and_is_removed_again(recipe: Recipe) -> None:
    options = WITH[recipe]
    specs = sidecars(SHOP, options)
    edited = injected(SHOP, specs, options)
    override = yaml.safe_load(override_text(specs, options, "c.yml", "o.yml", SHOP))
    registry = yaml.safe_load(edited)["services"][REGISTRY_SERVICE]
    assert override["services"][REGISTRY_SERVICE] == registry
    assert ejected(edited) == SHOP
    assert injected(edited, specs, options) == edited
    assert injected(edited, specs, Options(recipe=Recipe.BESIDE)) == injected(
        SHOP, specs, Options(recipe=Recipe.BESIDE)
    )


@RECIPES
def test_the_registry_starts_with_the_secret_and_takes_the_ports_of_the_fleet(recipe: Recipe) -> None:
    options = WITH[recipe]
    registry = registry_entries(sidecars(SHOP, options), options)[REGISTRY_SERVICE]
    told = {
        name: fill(value, {"REGISTRY_SECRET": "s3cret-s3cret"}).text for name, value in registry["environment"].items()
    }
    settings = replica_settings({**told, "REGISTRY_LISTEN": ":8888"})
    assert settings.secrets == ("s3cret-s3cret",)
    assert settings.rules.min_port == (80 if recipe is not Recipe.HOST else 1024)


def test_without_the_secret_compose_starts_nothing_and_says_why() -> None:
    edited = injected(SHOP, sidecars(SHOP, WITH[Recipe.NETNS]), WITH[Recipe.NETNS])
    problem, *others = project(edited).problems
    assert (problem.code, problem.service, others) == ("variable-required", REGISTRY_SERVICE, [])
    assert "REGISTRY_SECRET is required: set it to a long random secret" in problem.message


def test_the_registry_is_in_the_networks_of_all_agents() -> None:
    for recipe in (Recipe.NETNS, Recipe.BESIDE):
        edited = injected(SHOP, sidecars(SHOP, WITH[recipe]), WITH[recipe])
        agents = sidecars(SHOP, WITH[recipe])
        assert list(unreached(Options().registry, project(edited), agents, WITH[recipe])) == []


def test_a_fleet_in_the_default_network_has_no_list_of_networks() -> None:
    text = "services: {web: {image: x, expose: [8000]}}\n"
    registry = registry_entries(sidecars(text, WITH[Recipe.NETNS]), WITH[Recipe.NETNS])[REGISTRY_SERVICE]
    assert "networks" not in registry
    assert "REGISTRY_MIN_PORT" not in registry["environment"]


def test_its_port_on_the_host_is_one_that_nothing_publishes() -> None:
    assert free_host_port(project(SHOP)) == 8889
    assert free_host_port(project(OUTSIDE)) == 8888


def test_a_low_port_is_no_remark_where_the_registry_accepts_it() -> None:
    def remarks(options: Options) -> str:
        return " ".join(str(note) for note in planned(project(SHOP), options).notes)

    assert "REGISTRY_MIN_PORT=80" in remarks(Options())
    assert "REGISTRY_MIN_PORT" not in remarks(WITH[Recipe.NETNS])


def test_neither_the_audit_nor_the_zone_takes_the_registry_for_a_service_or_an_agent() -> None:
    options = Options(registry_image="vertice-registry", zone="corp.example")
    edited = project(injected(SHOP, sidecars(SHOP, options), options))
    assert zones_of(edited) == ("corp.example",)
    found = audit(edited)
    assert set(found.project.services) == {"web", "api", "solo"}
    assert "variable-required" not in {finding.code for finding in found.findings}


def test_a_variable_that_a_service_requires_stays_a_finding() -> None:
    text = "services: {web: {image: x, expose: [8000], environment: {A: '${NEEDED:?}'}}}\n"
    assert "variable-required" in {finding.code for finding in audit(project(text)).findings}


def test_a_registry_in_the_file_gets_no_agent_unless_it_is_named() -> None:
    text = SHOP.replace(
        "networks: {front",
        "  central: {image: vertice-registry, expose: [8888], networks: [front, back]}\nnetworks: {front",
    )
    options = Options(registry="http://central:8888")
    plan = planned(project(text), options)
    assert "central" not in {spec.service for spec in plan.sidecars}
    assert not plan.left_out
    assert "central: it is the registry of the agents" in " ".join(map(str, plan.notes))
    assert [s.service for s in planned(project(text), options, ["central"]).sidecars] == ["central"]


# -- registries out of reach


@pytest.mark.parametrize("url", ["http://localhost:8888", "http://127.0.0.1:8888", "http://[::1]:8888"])
def test_loopback_is_out_of_reach_for_agents_in_containers(url: str) -> None:
    [(why, _)] = reasons(url, SHOP, Options())
    assert "its own container" in why
    assert reasons(url, SHOP, WITH[Recipe.HOST]) == []


def test_a_host_that_the_file_does_not_have_is_unknown() -> None:
    assert reasons("http://nosuch:8888", SHOP, Options()) == [("no service of the file is called nosuch", ())]
    assert reasons("http://so_lo:8888", "services: {so-lo: {image: x, expose: [8000]}}", Options()) != []


def test_a_service_in_another_network_is_out_of_reach_for_those_that_are_not_in_it() -> None:
    assert reasons("http://api:8888", SHOP, Options()) == [("they share no network with api", ("solo",))]


@pytest.mark.parametrize("url", ["http://10.0.0.2:8888", "http://r.example", "srv:_r._tcp.example", "${REGISTRY}"])
def test_what_the_file_does_not_tell_may_be_reached(url: str) -> None:
    assert reasons(url, SHOP, Options()) == []


def test_a_network_with_others_in_it_may_have_the_registry() -> None:
    assert reasons("http://central:8888", OUTSIDE, Options()) == []


def test_the_agent_of_the_host_knows_no_names_of_containers() -> None:
    [(why, _)] = reasons("http://api:8888", SHOP, WITH[Recipe.HOST])
    assert "among containers" in why
    assert reasons("http://central:8888", SHOP, WITH[Recipe.HOST]) == []


def test_of_several_registries_each_is_judged() -> None:
    assert len(reasons("http://nosuch:1,http://r.example:1,http://localhost:1", SHOP, Options())) == 2
