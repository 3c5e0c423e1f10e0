"""Which addresses are replaced by names, and why the others are not."""

from __future__ import annotations

import pytest

from cli.compose.existing_agents import ExistingAgents, agents_with
from cli.compose.reader import project_of
from cli.compose.rewrite import rewritten
from cli.compose.sidecar_plan import planned
from cli.compose.sidecars import Options, Recipe
from cli.compose.value_edits import Rewriting

FLEET = """\
services:
  shop:
    ports: ["8000:80"]
    environment:
      {variable}: {value}
  cart_keeper:
    build: .
    ports: ["9010:8010"]
    healthcheck: {{test: "curl http://localhost:8010/"}}
  many: {{expose: [8001, 8002]}}
  asked: {{expose: [8020], healthcheck: {{test: "curl http://localhost:8021/"}}}}
  silent: {{image: x}}
  hinted: {{healthcheck: {{test: "curl http://localhost:8060/"}}}}
  statsd: {{ports: ["8125/udp", "8126"]}}
  database: {{image: "postgres:16", expose: [5432]}}
  unnamed: {{expose: [8030], labels: {{vertice.name: X}}}}
  Odd.Name: {{expose: [8031]}}
  apart: {{expose: [8040], networks: [back]}}
  both: {{expose: [8050], networks: [default, back]}}
networks: {{back: }}
"""


def rewrite(text: str, recipe: Recipe = Recipe.NETNS, zone: str = "vertice.internal") -> Rewriting:
    project = project_of([("c.yml", text.encode())])
    options = Options(recipe=recipe, host_address="10.0.0.7")
    return rewritten(text, project, agents_with(planned(project, options).sidecars, recipe, zone))


def of_value(value: str, variable: str = "CALLED_URL") -> tuple[str, Rewriting]:
    found = rewrite(FLEET.format(variable=variable, value=value))
    return found.text.splitlines()[4].partition(": ")[2], found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("http://cart_keeper:8010/a?b=c#d", "http://cart-keeper.vertice.internal:8010/a?b=c#d"),
        ("http://cart_keeper:9010/a", "http://cart-keeper.vertice.internal:8010/a"),
        ("http://cart_keeper:7777", "http://cart-keeper.vertice.internal:8010"),
        ("http://cart_keeper/a", "http://cart-keeper.vertice.internal:8010/a"),
        ("http://cart-keeper:8010", "http://cart-keeper.vertice.internal:8010"),
        ('"ws://cart_keeper:8010"  # why', '"ws://cart-keeper.vertice.internal:8010"  # why'),
        ("'http://me:secret@cart_keeper:8010'", "'http://me:secret@cart-keeper.vertice.internal:8010'"),
        ("cart_keeper:8010", "cart-keeper.vertice.internal:8010"),
        ("http://Odd.Name:8031", "http://odd-name.vertice.internal:8031"),
        (
            "http://cart_keeper:8010,http://cart_keeper:80101,http://many:8001",
            "http://cart-keeper.vertice.internal:8010,http://cart_keeper:80101,http://many:8001",
        ),
        (
            "http://cart_keeper:8010,https://cart_keeper:8010",
            "http://cart-keeper.vertice.internal:8010,https://cart_keeper:8010",
        ),
    ],
)
def test_an_address_with_one_right_port_becomes_a_name(before: str, after: str) -> None:
    assert of_value(before)[0] == after


@pytest.mark.parametrize(
    ("value", "reason", "offered"),
    [
        ("http://many:8001", "listens on 8001 and 8002", ""),
        ("http://elsewhere.example:80", "outside the file", ""),
        ("http://nobody:80", "no service of the file has that name", ""),
        ("http://localhost:8010", "the container itself", ""),
        ("http://host.docker.internal:9010", "it is on the host", ""),
        ("http://${CART:-cart_keeper}:8010", "built from variables", ""),
        ("https://cart_keeper:8010", "the certificate", ""),
        ("http://cart_keeper:80101", "port 80101 does not exist", "cart-keeper.vertice.internal:8010"),
        ("http://many:80101", "listens on 8001 and 8002", ""),
        ("http://unnamed:8030", "cannot be registered", ""),
        ("http://silent:80", "does not say on which port", ""),
        ("http://asked:8021", "its health check uses another port", ""),
        ("http://hinted:8061", "nothing shows whether hinted listens on 8061", ""),
        ("tcp://statsd:8125", "8125 is another of its ports", ""),
        ("postgres://database:5432/x", "a database or a broker", ""),
        ("ftp://cart_keeper:8010", "how ftp:// uses a name", ""),
        ("http://apart:8040", "share no network", ""),
        ("http://both:8050", "in networks that shop is not in", ""),
        ('"http://cart_keeper:8\\x30\\x310"', "escapes", ""),
    ],
)
def test_an_unsafe_address_is_kept_with_the_reason(value: str, reason: str, offered: str) -> None:
    left, found = of_value(value)
    assert left == value
    assert found.changes == ()
    [unchanged] = found.unchanged
    assert reason in unchanged.reason
    assert unchanged.offered == offered
    assert (unchanged.place.line, unchanged.service, unchanged.variable) == (5, "shop", "CALLED_URL")


def test_a_consumer_that_resolves_without_an_agent_keeps_its_addresses() -> None:
    text = FLEET.format(variable="CALLED_URL", value="http://cart_keeper:8010")
    assert "does not resolve names through an agent" in rewrite(text, Recipe.BESIDE).unchanged[0].reason
    own = text.replace("    environment:", "    dns: 10.0.0.1\n    environment:", 1)
    assert "does not resolve names through an agent" in rewrite(own).unchanged[0].reason


def test_with_the_hosts_agent_the_port_is_the_published_one() -> None:
    text = FLEET.format(variable="CALLED_URL", value="http://cart_keeper:8010")
    assert "CALLED_URL: http://cart-keeper.vertice.internal:9010\n" in rewrite(text, Recipe.HOST).text


def test_a_host_and_its_port_change_together() -> None:
    text = FLEET.format(variable="CART_HOST", value="cart_keeper\n      CART_PORT: 9010  # shown")
    found = rewrite(text)
    assert "CART_HOST: cart-keeper.vertice.internal\n      CART_PORT: 8010  # shown\n" in found.text
    assert len(found.changes) == 2
    right = text.replace("PORT: 9010", "PORT: 8010")
    assert len(rewrite(right).changes) == 1


@pytest.mark.parametrize(
    ("port", "reason"),
    [("CART_PORT: '${P:-9010}'", "built from variables"), ("OTHER: 1", "no port beside it")],
)
def test_a_host_whose_port_cannot_change_is_kept(port: str, reason: str) -> None:
    text = FLEET.format(variable="CART_HOST", value=f"cart_keeper\n      {port}")
    found = rewrite(text)
    assert found.text == text
    assert reason in found.unchanged[0].reason


def test_a_pair_is_kept_when_half_of_it_is_shared() -> None:
    text = (
        "x-e: &e\n  CART_PORT: 9010\nservices:\n"
        "  shop: {expose: [80], environment: {<<: *e, CART_HOST: cart}}\n"
        "  other: {expose: [81], environment: {<<: *e}}\n"
        "  cart: {ports: ['9010:8010']}\n"
    )
    found = rewrite(text)
    assert found.text == text
    assert any("CART_PORT would have to change too" in k.reason for k in found.unchanged)


def test_a_shared_value_changes_when_it_is_safe_for_all() -> None:
    text = (
        "x-e: &e\n  CART_URL: http://cart:8010\nservices:\n"
        "  shop: {expose: [80], environment: *e}\n"
        "  other: {expose: [81], environment: *e}\n"
        "  cart: {expose: [8010]}\n"
    )
    found = rewrite(text)
    assert found.text == text.replace("cart:8010\n", "cart.vertice.internal:8010\n")
    assert [c.service for c in found.changes] == ["other", "shop"]
    alone = text.replace("other: {", "other: {dns: 10.0.0.1, ")
    assert rewrite(alone).text == alone


def test_env_files_and_commands_are_not_touched() -> None:
    text = (
        "services:\n  shop:\n    expose: [80]\n    env_file: shop.env\n    command: --cart http://cart:8010\n"
        "  cart: {expose: [8010]}\n"
    )
    project = project_of(
        [("c.yml", text.encode())], read={"shop.env": b"CART_URL=http://cart:8010\n", ".env": b""}.__getitem__
    )
    options = Options()
    found = rewritten(text, project, agents_with(planned(project, options).sidecars, options.recipe))
    assert found.text == text
    assert {k.reason for k in found.unchanged} == {
        "CART_URL is in shop.env, which is not changed",
        "it is in `command`, and only `environment` is changed",
    }


def test_another_zone_is_written_and_recognised() -> None:
    text = FLEET.format(variable="CALLED_URL", value="http://cart_keeper:8010")
    first = rewrite(text, zone="fleet.example")
    assert "http://cart-keeper.fleet.example:8010" in first.text
    again = rewrite(first.text, zone="fleet.example")
    assert (again.text, again.changes, again.unchanged) == (first.text, (), ())


def test_a_target_without_an_agent_keeps_its_address() -> None:
    text = FLEET.format(variable="CALLED_URL", value="http://cart_keeper:8010")
    project = project_of([("c.yml", text.encode())])
    sidecars = planned(project, Options(), ["shop"]).sidecars
    found = rewritten(text, project, agents_with(sidecars, Recipe.NETNS))
    assert found.text == text
    assert found.unchanged[0].reason == "cart_keeper has no agent to register it"


def test_a_name_too_long_for_dns_is_not_written() -> None:
    text = FLEET.format(variable="CALLED_URL", value="http://cart_keeper:8010")
    found = rewrite(text, zone=".".join(["z" * 60] * 4))
    assert found.text == text
    assert "more than 253 characters" in found.unchanged[0].reason


def test_two_values_of_one_name_in_one_line_are_left_alone() -> None:
    text = (
        "services: {shop: {expose: [80], environment: {CART_URL: 'http://cart:8010'}},"
        " other: {expose: [81], environment: {CART_URL: 'http://cart:8010'}}, cart: {expose: [8010]}}\n"
    )
    found = rewrite(text)
    assert found.text == text
    assert {k.reason for k in found.unchanged} == {"it has no place of its own in the file"}


@pytest.mark.parametrize(
    "variable",
    ["CORS_ORIGINS", "OIDC_ISSUER", "REDIRECT_URI", "PUBLIC_URL", "ADVERTISED_URL", "VIRTUAL_HOST", "VITE_API_URL"],
)
def test_a_name_that_is_compared_is_kept_with_the_reason(variable: str) -> None:
    left, found = of_value("http://cart_keeper:8010", variable)
    assert (left, found.changes) == ("http://cart_keeper:8010", ())
    [unchanged] = found.unchanged
    assert unchanged.reason.startswith("it ") or unchanged.reason.startswith("a browser")
    assert unchanged.offered == ""


def test_a_services_own_name_is_kept() -> None:
    left, found = of_value("http://shop:80")
    assert left == "http://shop:80"
    assert found.unchanged[0].reason == "it is its own address, which it is told or tells others"


@pytest.mark.parametrize(
    ("hosts", "changes"),
    [("shop,cart_keeper", False), ("*", True), (".vertice.internal", True), ("['cart-keeper.vertice.internal']", True)],
)
def test_a_target_that_accepts_certain_hosts_is_called_by_one_of_them(hosts: str, *, changes: bool) -> None:
    text = FLEET.format(variable="CALLED_URL", value="http://cart_keeper:8010")
    text = text.replace("    build: .\n", f'    build: .\n    environment: {{ALLOWED_HOSTS: "{hosts}"}}\n')
    found = rewrite(text)
    assert bool(found.changes) is changes
    if not changes:
        reasons = [u.reason for u in found.unchanged]
        assert any("accepts only the hosts in its ALLOWED_HOSTS" in reason for reason in reasons)


def test_an_alias_may_be_a_virtual_host_and_is_kept() -> None:
    text = (
        "services:\n  shop: {expose: [80], environment: {A_URL: 'http://auth.local:8010', B_URL: 'http://web:8010'}}\n"
        "  web: {expose: [8010], networks: {default: {aliases: [auth.local]}}}\n"
    )
    found = rewrite(text)
    assert [c.variable for c in found.changes] == ["B_URL"]
    assert found.unchanged[0].reason == "auth.local is an alias of web, by which it may tell virtual hosts apart"


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("{image: acme/tracer, ports: ['12345:12345']}", "http://tracer:4318"),
        ("{build: ., ports: ['12345:12345']}", "http://tracer:4318"),
        ("{image: x, expose: [80], healthcheck: {test: 'curl http://localhost:80'}}", "http://tracer:4318"),
        ("{build: ., healthcheck: {test: 'curl http://localhost:80'}}", "tracer:4318"),
        ("{build: ., healthcheck: {test: 'curl http://localhost:80'}, command: '-p 4318'}", "http://tracer:4318"),
        ("{image: jaegertracing/all-in-one, ports: ['16686:16686']}", "http://tracer:4318"),
    ],
)
def test_a_port_that_nothing_proves_wrong_is_never_changed(target: str, address: str) -> None:
    text = f"services:\n  shop: {{expose: [80], environment: {{T_ENDPOINT: '{address}'}}}}\n  tracer: {target}\n"
    found = rewrite(text)
    assert found.text == text
    assert len(found.unchanged) == 1


def test_a_port_in_a_variable_beside_a_url_stays_with_it() -> None:
    text = FLEET.format(variable="CART_URL", value="http://cart_keeper\n      CART_PORT: 8010")
    found = rewrite(text)
    assert "CART_URL: http://cart-keeper.vertice.internal\n      CART_PORT: 8010\n" in found.text


def test_a_discovered_name_with_a_wrong_port_is_named() -> None:
    left, found = of_value("http://cart-keeper.vertice.internal:1")
    assert left == "http://cart-keeper.vertice.internal:1"
    assert found.unchanged[0].offered == "cart-keeper.vertice.internal:8010"


def test_an_agent_that_registers_another_port_keeps_the_address() -> None:
    text = FLEET.format(variable="CALLED_URL", value="http://cart_keeper:8010")
    project = project_of([("c.yml", text.encode())])
    found = rewritten(text, project, ExistingAgents({"cart_keeper": 1234}, frozenset({"shop"})))
    assert found.text == text
    assert found.unchanged[0].reason == "cart_keeper is registered under 1234, but listens on 8010"


def test_within_one_value_only_what_is_looked_up_changes() -> None:
    value = "http://cart_keeper:8010/authorize?redirect_uri=http://cart_keeper:8010/cb"
    left, found = of_value(value)
    assert left == value.replace("cart_keeper", "cart-keeper.vertice.internal", 1)
    [unchanged] = found.unchanged
    assert "a browser is sent there" in unchanged.reason


def test_what_would_go_through_a_proxy_or_uses_tls_is_kept() -> None:
    for beside in ("HTTP_PROXY: http://proxy.example:3128", "CART_TLS: 'true'"):
        text = FLEET.format(variable="CART_ADDR", value=f"cart_keeper:8010\n      {beside}")
        found = rewrite(text)
        assert found.text == text
        assert {u.variable for u in found.unchanged} >= {"CART_ADDR"}


def test_a_name_that_several_services_have_is_kept() -> None:
    text = (
        "services:\n  shop: {expose: [80], environment: {MODEL_HOST: 'model:8000', OTHER_HOST: 'alone:8000'}}\n"
        "  model_cpu: {profiles: [cpu], container_name: model, expose: [8000]}\n"
        "  model_gpu: {profiles: [gpu], container_name: model, expose: [8000]}\n"
        "  single: {container_name: alone, expose: [8000]}\n"
    )
    found = rewrite(text)
    assert found.text == text.replace("alone:8000", "single.vertice.internal:8000")
    assert [u.reason for u in found.unchanged] == ["model is the name of model_cpu and model_gpu alike"]
