"""Which service of a file a discovered name leads to."""

from __future__ import annotations

import pytest

from cli.compose.discovered_names import DiscoveredNames, recipes_of, zones_of
from cli.compose.model import Project
from cli.compose.reader import project_of
from cli.compose.sidecars import Recipe


def project(text: str) -> Project:
    return project_of([("c.yml", text.encode())])


FLEET = project("name: shop\nservices: {cart_keeper: {}, db: {}, Web: {labels: {vertice.name: front}}}")


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("cart-keeper.vertice.internal", "cart_keeper"),
        ("CART_KEEPER.Vertice.Internal.", "cart_keeper"),
        ("canary.cart-keeper.vertice.internal", "cart_keeper"),
        ("_cart-keeper._tcp.vertice.internal", "cart_keeper"),
        ("db-shop.vertice.internal", "db"),
        ("front.vertice.internal", "Web"),
        ("nobody.vertice.internal", None),
        ("i-0123456789ab.vertice.internal", None),
        ("vertice.internal", None),
        ("cart-keeper", None),
        ("cart-keeper.example.org", None),
    ],
)
def test_a_name_leads_to_the_service_that_is_registered_under_it(host: str, service: str | None) -> None:
    found = DiscoveredNames(FLEET, ["vertice.internal"]).service_of(host)
    assert (found.name if found is not None else None) == service


def test_the_zones_and_recipes_are_those_of_the_agents_in_the_file() -> None:
    assert zones_of(FLEET) == ("vertice.internal",)
    assert recipes_of(FLEET) == frozenset()
    agents = project(
        "services: {aaa: {}, aaa-agent: {labels: {vertice.sidecar: netns}, environment: {AGENT_DNS_ZONE: shop.test}},"
        " bbb-agent: {labels: {vertice.sidecar: host}}}"
    )
    assert zones_of(agents) == ("shop.test", "vertice.internal")
    assert recipes_of(agents) == {Recipe.NETNS, Recipe.HOST}
