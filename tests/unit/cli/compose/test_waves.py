"""The waves of a migration."""

from __future__ import annotations

import json

import pytest

from cli.compose.audit import audit
from cli.compose.reader import project_of
from cli.compose.waves import By, Wave, categories, plan_json, plan_text, waves_of

# gate -> shop -> (cart <-> stock) -> redis; lone stands alone.
FLEET = """
x-check: &check {healthcheck: {test: [CMD, check]}}
services:
  gate: {<<: *check, expose: ["80"], environment: [SHOP_URL=http://shop:80, CART_URL=http://cart:80]}
  shop: {<<: *check, expose: ["80"], environment: [CART_URL=http://cart:80]}
  cart: {<<: *check, expose: ["80"], environment: [STOCK_URL=http://stock:80, CACHE_URL=redis://redis]}
  stock: {<<: *check, expose: ["80"], environment: [CART_URL=http://cart:80], depends_on: [redis]}
  redis: {<<: *check, image: "redis:7"}
  lone: {<<: *check, expose: ["80"]}
"""


def waves(by: By = By.DEPENDENCY, pilot: int = 1, size: int = 25, text: str = FLEET) -> tuple[Wave, ...]:
    return waves_of(audit(project_of([("compose.yml", text.encode())])), by, pilot, size)


def names(found: tuple[Wave, ...]) -> list[list[str]]:
    return [[s.name for s in wave.services] for wave in found]


def test_by_dependency_consumers_come_first_and_cycles_stay_together() -> None:
    found = waves()
    assert names(found) == [["gate"], ["lone"], ["shop"], ["cart", "stock"], ["redis"]]
    assert [w.radius for w in found] == [0, 0, 1, 3, 4]
    assert found[3].services[0].circle == ("cart", "stock")
    assert [w.number for w in found] == [1, 2, 3, 4, 5]


def test_the_pilot_has_services_without_consumers_and_no_part_of_a_cycle() -> None:
    assert names(waves(pilot=3))[0] == ["gate", "lone", "shop"]
    assert names(waves(pilot=4))[0] == ["gate", "lone", "shop"]
    assert names(waves(pilot=5))[0] == ["gate", "lone", "shop", "cart", "stock"]


def test_the_pilot_prefers_few_addresses_and_a_health_check() -> None:
    text = """
services:
  many: {healthcheck: {test: [CMD, x]}, environment: [A_URL=http://base:1, B_HOST=base]}
  none: {healthcheck: {test: [CMD, x]}}
  blind: {environment: [A_URL=http://base:1]}
  few: {healthcheck: {test: [CMD, x]}, environment: [A_URL=http://base:1]}
  base: {healthcheck: {test: [CMD, x]}}
"""
    assert names(waves(pilot=4, text=text))[0] == ["few", "many", "none", "blind"]


def test_a_wave_has_a_size_unless_a_cycle_is_larger() -> None:
    ring = "".join(f"  ring{n}: {{environment: [U_URL=http://ring{(n + 1) % 4}:1]}}\n" for n in range(4))
    alone = "".join(f"  alone{n}: {{}}\n" for n in range(5))
    found = waves(pilot=1, size=2, text=f"services:\n{ring}{alone}")
    assert [len(n) for n in names(found)] == [1, 2, 2, 4]
    assert names(found)[-1] == ["ring0", "ring1", "ring2", "ring3"]


def test_by_category_each_category_goes_together_and_infrastructure_last() -> None:
    text = """
services:
  pay_a: {expose: ["1"]}
  pay_b: {}
  pay_c: {environment: [U_URL=http://pay_a:1]}
  mine: {labels: {vertice.category: own}}
  alone: {}
  database: {image: "registry.example/library/postgres:16@sha256:0"}
"""
    project = project_of([("compose.yml", text.encode())])
    assert categories(project) == {
        "pay_a": "pay",
        "pay_b": "pay",
        "pay_c": "pay",
        "mine": "own",
        "alone": "other",
        "database": "infrastructure",
    }
    found = waves(By.CATEGORY, text=text)
    assert [w.title for w in found] == ["pilot", "other", "own", "pay", "infrastructure"]
    assert names(found)[0] == ["pay_c"]


@pytest.mark.parametrize("by", By)
def test_every_service_is_in_exactly_one_wave_in_every_format(by: By) -> None:
    found = waves(by, pilot=2, size=2)
    planned = [name for wave in names(found) for name in wave]
    assert sorted(planned) == ["cart", "gate", "lone", "redis", "shop", "stock"]
    shape = json.loads(json.dumps(plan_json(found, by)))
    assert [[s["name"] for s in w["services"]] for w in shape["waves"]] == names(found)
    assert list(plan_text(found))[-1] == f"6 services in {len(found)} waves."


def test_a_service_with_another_name_in_the_registry_is_shown_with_both() -> None:
    text = "name: shop\nservices: {db: {expose: ['80']}, Web: {labels: {vertice.name: front}, expose: ['80']}}"
    found = waves(text=text)
    assert any(line.startswith("  db (other, registered as db-shop): ") for line in plan_text(found))
    services = [s for wave in plan_json(found, By.DEPENDENCY)["waves"] for s in wave["services"]]
    assert {s["name"]: s["registered_name"] for s in services} == {"db": "db-shop", "Web": "front"}
