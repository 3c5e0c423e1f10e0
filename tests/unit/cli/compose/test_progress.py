"""How far a migration is: what is registered, and which addresses may go because `rewrite` would replace them."""

from __future__ import annotations

import json

from cli.compose.audit import audit
from cli.compose.existing_agents import ExistingAgents, existing_agents
from cli.compose.progress import (
    FleetProgress,
    RegisteredInstance,
    progress_of,
    registered_agents,
    status_json,
    status_text,
)
from cli.compose.reader import project_of
from cli.compose.rewrite import rewritten
from cli.compose.waves import By, waves_of

# gate -> shop -> (cart <-> stock) -> redis; lone stands alone.
FLEET = """
services:
  gate: {expose: ["80"], environment: [SHOP_URL=http://shop:80, CART_URL=http://cart:80]}
  shop: {expose: ["80"], environment:
      [CART_URL=http://cart:80]}
  cart: {expose: ["80"], environment: [STOCK_URL=http://stock:80, CACHE_URL=redis://redis]}
  stock: {expose: ["80"], environment:
      [CART_URL=http://cart:80], depends_on: [redis]}
  redis: {image: "redis:7"}
  lone: {expose: ["80"]}
"""


def progress(
    *held: tuple[str, bool], text: str = FLEET, port: int = 80, standing: ExistingAgents | None = None
) -> FleetProgress:
    project = project_of([("compose.yml", text.encode())])
    found = audit(project)
    instances = [RegisteredInstance(name, is_well, port) for name, is_well in held]
    agents = registered_agents(found.project, instances, standing, "vertice.internal")
    return progress_of(found, waves_of(found, By.DEPENDENCY, 1), instances, rewritten(text, project, agents))


def stays(found: FleetProgress) -> dict[tuple[str, str], tuple[str, ...]]:
    return {
        (s.name, a.address.address.variable): a.waits_for for w in found.waves for s in w.services for a in s.addresses
    }


def test_an_address_may_go_when_its_target_passes_and_its_consumer_is_registered() -> None:
    found = progress(("gate", True), ("cart", False), ("cart", True), ("shop", False))
    assert stays(found) == {
        ("gate", "SHOP_URL"): ("shop is registered, none passing",),
        ("gate", "CART_URL"): (),
        ("shop", "CART_URL"): (),
        ("cart", "STOCK_URL"): ("stock is not registered",),
        ("cart", "CACHE_URL"): ("redis is not registered",),
        ("stock", "CART_URL"): ("stock is not registered itself, so that no agent is known beside it",),
    }
    assert found.counts() == {
        "services": 6,
        "registered": 3,
        "passing": 2,
        "static_consumers": 4,
        "static_addresses": 6,
        "may_go": 2,
    }
    assert found.waves[0].counts()["may_go"] == 1


def test_an_address_that_rewrite_would_keep_stays_for_the_same_reason() -> None:
    text = """
services:
  shop:
    expose: ["80"]
    command: --cart http://cart:8010
    environment:
      MANY_URL: http://many:8001
      HIDDEN_URL: http://cart:4318
      TLS_URL: https://cart:8010
      BUILT_URL: http://${CART:-cart}:8010
      CART_URL: http://cart:8010
  cart: {expose: ["8010"]}
  many: {expose: ["8001", "8002"]}
"""
    found = progress(("shop", True), ("cart", True), ("many", True), text=text, port=8010)
    assert stays(found) == {
        ("shop", "MANY_URL"): ("many listens on 8001 and 8002, and a name leads only to an address",),
        ("shop", "HIDDEN_URL"): ("nothing shows whether cart listens on 4318, so that its port stays",),
        ("shop", "TLS_URL"): ("it uses TLS, and the certificate is for the name in the file",),
        ("shop", "BUILT_URL"): ("it is built from variables",),
        ("shop", "CART_URL"): (),
        ("shop", "command"): ("it is in `command`, and only `environment` is changed",),
    }


def test_a_port_that_is_registered_otherwise_keeps_the_address() -> None:
    text = "services: {shop: {environment: {CART_URL: 'http://cart:8010'}}, cart: {expose: [8010]}}\n"
    [reason] = stays(progress(("shop", True), ("cart", True), text=text, port=9999))["shop", "CART_URL"]
    assert reason == "cart is registered under 9999, but listens on 8010"
    project = project_of([("compose.yml", text.encode())])
    held = [RegisteredInstance("shop", True, 80), *(RegisteredInstance("cart", True, p) for p in (8010, 8011))]
    agents = registered_agents(project, held, None, "vertice.internal")
    assert agents.ports == {"shop": 80}
    found = audit(project)
    done = progress_of(found, waves_of(found, By.DEPENDENCY), held, rewritten(text, project, agents))
    assert stays(done)["shop", "CART_URL"] == (
        "cart is registered under several ports, and a name leads only to an address",
    )


def test_a_consumer_whose_agent_in_the_file_is_no_resolver_keeps_its_addresses() -> None:
    text = "services: {shop: {environment: {CART_URL: 'http://cart:8010'}}, cart: {expose: [8010]}}\n"
    beside = """
services:
  shop-agent: {labels: {vertice.sidecar: beside}, environment: {SERVICE_NAME: shop, SERVICE_PORT: "80"}}
"""
    found = progress(("shop", True), ("cart", True), text=text, port=8010, standing=existing_agents(beside, {}))
    assert stays(found)["shop", "CART_URL"] == ("shop does not resolve names through an agent",)


def test_names_that_were_discovered_are_no_hard_coded_addresses() -> None:
    done = rewritten(
        FLEET,
        project_of([("compose.yml", FLEET.encode())]),
        ExistingAgents(dict.fromkeys(("shop", "cart", "stock"), 80), frozenset({"gate", "shop", "cart", "stock"})),
    )
    assert len(done.changes) == 5
    found = progress(("gate", True), ("cart", True), text=done.text)
    assert found.counts()["static_addresses"] == 1
    assert list(stays(found)) == [("cart", "CACHE_URL")]


def test_a_registration_in_the_other_spelling_counts_and_strangers_are_named() -> None:
    done = progress(("ip-intel", True), ("other", True), text="services: {ip_intel: {expose: ['80']}}\n")
    assert done.counts()["passing"] == 1
    assert done.strangers == ("other",)
    said = list(status_text(done))
    assert "  ip_intel: passing (1 of 1)" in said
    assert "Registered and not in the file: other" in said
    assert json.loads(json.dumps(status_json(done)))["waves"][0]["services"][0]["state"] == "passing"


def test_a_service_with_another_name_in_the_registry_is_found_under_that_and_both_are_shown() -> None:
    text = "name: shop\nservices: {db: {expose: ['80']}, Web: {labels: {vertice.name: front}, expose: ['80']}}\n"
    done = progress(("db_shop", True), ("front", False), ("web", True), text=text)
    assert done.strangers == ("web",)
    said = list(status_text(done))
    assert "  db (as db-shop): passing (1 of 1)" in said
    assert "  Web (as front): registered, none passing (0 of 1)" in said
    services = [s for wave in status_json(done)["waves"] for s in wave["services"]]
    assert {s["name"]: s["registered_name"] for s in services} == {"db": "db-shop", "Web": "front"}
