"""What is added to a compose file, how the agent reads it, and what is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
import yaml

from agent.settings.settings import read_agent_settings
from cli.compose.existing_agents import agents_with, existing_agents
from cli.compose.inject import MADE, NotTheSame, ejected, injected, override_text
from cli.compose.interpolation import fill
from cli.compose.outline import NotEditable
from cli.compose.reader import project_of
from cli.compose.sidecar_plan import planned
from cli.compose.sidecars import CONFIG_PATH, Options, Recipe, SidecarSpec, agent_toml
from cli.dev.plan_builder import plan_of_bytes

TEXT = """\
# A shop.
services:
  web_shop:
    ports: ["8000:80"]   # by hand
    healthcheck: {test: [CMD, curl, 'http://localhost:80/ok?a=$$b']}

  orders:
    container_name: the-orders
    ports: ["8010:8010"]
    networks: [back]
    # the last word
networks: {back: }
"""
OPTIONS = {
    Recipe.NETNS: Options(),
    Recipe.BESIDE: Options(recipe=Recipe.BESIDE),
    Recipe.HOST: Options(recipe=Recipe.HOST, host_address="10.0.0.7", registry="http://127.0.0.1:8888"),
}
RECIPES = pytest.mark.parametrize("recipe", Recipe)


def sidecars(text: str, options: Options) -> list[SidecarSpec]:
    return list(planned(project_of([("c.yml", text.encode())]), options).sidecars)


def environment_of(body: dict[str, dict[str, object]]) -> dict[str, str]:
    """Return a sidecar's environment as compose would pass it on."""
    return {name: fill(str(value), {}).text for name, value in body["environment"].items()}


def test_an_in_place_edit_keeps_all_lines_and_adds_agents_between_marks() -> None:
    after = injected(TEXT, sidecars(TEXT, Options()), Options())
    lines = after.splitlines()
    assert [line for line in lines if line in TEXT.splitlines()] == TEXT.splitlines()
    assert '    dns: ["127.0.0.1"]  # vertice compose inject' in lines
    assert lines.index("    # the last word") + 1 == lines.index("  # >>> vertice compose inject: netns")
    assert lines[-2:] == ["  # <<< vertice compose inject", "networks: {back: }"]


@RECIPES
def test_the_agent_accepts_its_generated_settings(recipe: Recipe, tmp_path: Path) -> None:
    options = OPTIONS[recipe]
    found = yaml.safe_load(injected(TEXT, sidecars(TEXT, options), options))
    if recipe is Recipe.HOST:
        environment = environment_of(found["services"]["vertice-agent"])
        assert environment.pop("AGENT_CONFIG") == CONFIG_PATH
        config = tmp_path / "agent.toml"
        config.write_text(fill(found["configs"]["vertice-agent"]["content"], {}).text)
        settings = read_agent_settings(environment, config)
        assert [(s.claim.service_name, s.claim.host, s.claim.port) for s in settings.services] == [
            ("web_shop", "10.0.0.7", 8000),
            ("orders", "10.0.0.7", 8010),
        ]
        assert str(settings.dns_listen) == "10.0.0.7:53"
    else:
        settings = read_agent_settings(environment_of(found["services"]["web_shop-agent"]))
        assert settings.services[0].claim.port == 80
        other = read_agent_settings(environment_of(found["services"]["orders-agent"]))
        assert other.services[0].claim.host == "the-orders"
        # With recipe `beside` nothing queries the agent; it listens on loopback, whatever its image says.
        listen = environment_of(found["services"]["orders-agent"])["AGENT_DNS_LISTEN"]
        assert listen == ("127.0.0.1:53" if recipe is Recipe.NETNS else "127.0.0.1:8653")
    assert settings.services[0].claim.health_endpoint == "/ok?a=$b"
    assert settings.registry_urls == (options.registry,)


def test_each_recipe_places_the_agent_as_documented() -> None:
    found = {r: yaml.safe_load(injected(TEXT, sidecars(TEXT, o), o))["services"] for r, o in OPTIONS.items()}
    netns, beside = found[Recipe.NETNS]["orders-agent"], found[Recipe.BESIDE]["orders-agent"]
    assert netns["network_mode"] == "service:orders"
    assert "networks" not in netns
    assert netns["depends_on"] == {"orders": {"condition": "service_started", "restart": True}}
    assert beside["networks"] == ["back"]
    assert "network_mode" not in beside
    assert found[Recipe.HOST]["vertice-agent"]["network_mode"] == "host"
    assert found[Recipe.HOST]["vertice-agent"]["cap_add"] == ["NET_BIND_SERVICE"]
    assert "cap_add" not in {**netns, **beside}
    assert [s["orders"].get("dns") for s in found.values()] == [["127.0.0.1"], None, ["10.0.0.7"]]
    for agent in (netns, beside, found[Recipe.HOST]["vertice-agent"]):
        assert agent["read_only"] is True
        assert agent["cap_drop"] == ["ALL"]
        assert agent["restart"] == "unless-stopped"
        assert agent["deploy"]["resources"]["limits"] == {"cpus": "0.25", "memory": "128M"}


@RECIPES
def test_the_file_with_its_override_equals_the_in_place_edit(recipe: Recipe) -> None:
    options = OPTIONS[recipe]
    found = sidecars(TEXT, options)
    override = override_text(found, options, "c.yml", "c.vertice.yml")
    assert override.startswith(MADE)
    merged = project_of([("c.yml", TEXT.encode()), ("c.vertice.yml", override.encode())])
    inside = project_of([("c.yml", injected(TEXT, found, options).encode())])
    assert merged.services.keys() == inside.services.keys()
    for name, service in merged.services.items():
        other = inside.services[name]
        assert [(e.name, e.value) for e in service.environment] == [(e.name, e.value) for e in other.environment]
        assert service.image == other.image
        assert service.network_mode == other.network_mode
        assert service.network_names == other.network_names
        assert ("dns" in service.places) == ("dns" in other.places)
    assert existing_agents(override, {}).ports == existing_agents(injected(TEXT, found, options), {}).ports
    planned_ones = agents_with(found, recipe)
    if recipe is Recipe.HOST:  # its configuration has the registered names alone
        planned_ones = msgspec.structs.replace(planned_ones, names={})
    assert existing_agents(override, {}) == planned_ones


def test_the_agent_avoids_ports_that_the_service_uses_in_its_namespace() -> None:
    found = SidecarSpec("web", "web-agent", "web", 8880, listens_on=(8880, 8881, 53), dns=False)
    environment = environment_of(
        yaml.safe_load(injected("services:\n  web: {image: x}\n", [found], Options()))["services"]["web-agent"]
    )
    assert environment["AGENT_HTTP_LISTEN"] == "127.0.0.1:8882"
    assert environment["AGENT_DNS_LISTEN"] == "127.0.0.1:8653"


@RECIPES
def test_vertice_dev_ignores_the_agents_in_a_fleet(recipe: Recipe) -> None:
    options = OPTIONS[recipe]
    after = injected(TEXT, sidecars(TEXT, options), options)
    plan = plan_of_bytes(after.encode())
    assert [s.name for s in plan.services] == ["web_shop", "orders"]
    assert (plan.listed, plan.findings) == (2, plan_of_bytes(TEXT.encode()).findings)


def test_for_podman_the_service_allows_its_agent_port_53() -> None:
    options = Options(podman=True, forward="10.89.0.1")
    text = TEXT.replace("    networks: [back]", "    sysctls: [a=b]")
    after = injected(text, sidecars(text, options), options)
    services = yaml.safe_load(after)["services"]
    assert services["web_shop"]["sysctls"] == {"net.ipv4.ip_unprivileged_port_start": "0"}
    assert services["orders"]["sysctls"] == ["a=b"]
    assert ejected(after) == text
    assert "sysctls" not in injected(TEXT, sidecars(TEXT, Options()), Options())


def test_shared_settings_appear_once_unless_the_name_is_taken() -> None:
    found = sidecars(TEXT, Options())
    assert injected(TEXT, found, Options()).count("cap_drop") == 1
    taken = "x-own: &vertice-agent {a: b}\n" + TEXT
    after = injected(taken, found, Options())
    assert after.count("cap_drop") == 2
    assert ejected(after) == taken


def test_a_file_in_flow_style_is_edited_too_and_restored() -> None:
    text = '{"services": {"web": {"ports": ["8000"]}, "orders": {"expose": [1]}}}'
    for options in OPTIONS.values():
        found = sidecars(text, options)
        after = injected(text, found, options)
        assert ejected(after) == text
        services = yaml.safe_load(after)["services"]
        assert services.keys() >= {"web", "orders"}
        assert not found or len(services) > 2


def test_a_node_shared_by_aliases_is_changed_only_for_all_of_them() -> None:
    text = "services:\n  web: &web\n    expose: [80]\n  other: *web\n"
    both = [SidecarSpec("web", "web-agent", "web", 80), SidecarSpec("other", "other-agent", "other", 80)]
    after = injected(text, both, Options())
    assert yaml.safe_load(after)["services"]["other"]["dns"] == ["127.0.0.1"]
    assert ejected(after) == text
    with pytest.raises(NotTheSame, match=r"services\.other\.dns"):
        injected(text, both[:1], Options())


@pytest.mark.parametrize(
    "text",
    [
        "services:\n  web: {expose: [80]}\nservices:\n  web: {expose: [81]}\n",
        "services:\n  web:\n    expose: [80]\n  web:\n    expose: [81]\n",
    ],
)
def test_the_last_of_duplicate_keys_is_edited(text: str) -> None:
    after = injected(text, [SidecarSpec("web", "web-agent", "web", 81)], Options())
    found = yaml.safe_load(after)["services"]
    assert found.keys() == {"web", "web-agent"}
    assert found["web"] == {"dns": ["127.0.0.1"], "expose": [81]}
    assert ejected(after) == text


def test_existing_configs_are_kept() -> None:
    text = TEXT + "configs:\n  own: {file: x}\n"
    options = OPTIONS[Recipe.HOST]
    after = injected(text, sidecars(text, options), options)
    assert yaml.safe_load(after)["configs"].keys() == {"own", "vertice-agent"}
    assert ejected(after) == text


def test_later_edits_next_to_the_agents_survive_an_eject() -> None:
    after = injected(TEXT, sidecars(TEXT, Options()), Options())
    mine = after.replace("networks: {back: }", "  # mine\n  mail: {image: x}\nnetworks: {back: }")
    assert ejected(mine) == TEXT.replace("networks: {back: }", "  # mine\n  mail: {image: x}\nnetworks: {back: }")
    open_ended = "services:\n  web: {expose: [80]}"
    grown = injected(open_ended, sidecars(open_ended, Options()), Options()) + "\n  mail: {image: x}\n"
    assert ejected(grown) == open_ended + "\n  mail: {image: x}\n"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("  # <<< vertice compose inject\nnetworks", "networks", "has no end"),
        ("  # >>> vertice compose inject: netns\n  web_shop-agent", "  web_shop-agent", "has no start mark"),
        ("  web_shop-agent:\n    <<: *vertice-agent\n", "  mine:\n", r"services\.mine"),
    ],
)
def test_a_file_with_damaged_marks_is_left_alone(old: str, new: str, reason: str) -> None:
    after = injected(TEXT, sidecars(TEXT, Options()), Options())
    assert old in after
    with pytest.raises(NotEditable, match=reason):
        ejected(after.replace(old, new))


def test_marks_inside_a_scalar_are_not_marks() -> None:
    text = (
        "services:\n  web:\n    command: |\n      # >>> vertice compose inject: x\n      # <<< vertice compose inject\n"
    )
    with pytest.raises(NotEditable, match=r"services\.web\.command"):
        ejected(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\n", "no `services`"),
        ("services: []\n", "no `services`"),
        ("services:\n  web: [1\n", "not YAML"),
        ("--- {services: {web: {}}}\n--- 2\n", "more than one document"),
        ("", "empty"),
        ("services:\n  web: text\n", "not written as a map"),
        ("services:\n  web: {}\n", "nothing can be added"),
    ],
)
def test_what_cannot_be_edited_is_reported(text: str, reason: str) -> None:
    with pytest.raises(NotEditable, match=reason):
        injected(text, [SidecarSpec("web", "web-agent", "web", 80)], Options())


def test_the_configuration_of_the_hosts_agent_is_always_valid_toml() -> None:
    odd = SidecarSpec("web", "web-agent", "10.0.0.7", 80, health_endpoint="/a\"b'c\\d$e")
    [table] = tomllib.loads(agent_toml([odd]).replace("$$", "$"))["service"]
    assert table["health_endpoint"] == odd.health_endpoint


# -- names that are taken, and names that cannot be registered

TAKEN = """\
services:
  shop: {image: acme/shop, ports: ["8000:8000"]}
  vertice-agent: {image: acme/other, ports: ["8001:8001"]}
configs:
  vertice-agent: {content: theirs}
"""


def test_the_hosts_agent_writes_no_key_twice() -> None:
    options = OPTIONS[Recipe.HOST]
    found = sidecars(TAKEN, options)
    after = injected(TAKEN, found, options)
    problems = project_of([("c.yml", after.encode())]).problems
    assert problems == ()
    whole = yaml.safe_load(after)
    assert whole["services"]["vertice-agent"]["image"] == "acme/other"
    agent = whole["services"]["vertice-agent-of-the-host"]
    assert agent["configs"] == [{"source": "vertice-agent-2", "target": CONFIG_PATH}]
    assert set(whole["configs"]) == {"vertice-agent", "vertice-agent-2"}
    assert ejected(after) == TAKEN
    override = yaml.safe_load(override_text(found, options, "c.yml", "c.vertice.yml", TAKEN))
    assert override["services"]["vertice-agent"] == {"dns": ["10.0.0.7"]}
    assert set(override["configs"]) == {"vertice-agent-2"}
    for text in (after, override_text(found, options, "c.yml", "c.vertice.yml", TAKEN)):
        assert existing_agents(text, {}).ports == {"shop": 8000, "vertice-agent": 8001}


def test_the_names_of_all_documents_of_a_file_are_taken() -> None:
    options, text = OPTIONS[Recipe.HOST], f"{TAKEN}---\nconfigs: {{vertice-agent-2: {{content: x}}}}\n"
    override = yaml.safe_load(override_text(sidecars(text, options), options, "c.yml", "c.vertice.yml", text))
    assert set(override["configs"]) == {"vertice-agent-3"}


def test_an_agent_with_the_name_of_a_service_is_refused_everywhere() -> None:
    options = OPTIONS[Recipe.HOST]
    found = [
        SidecarSpec("shop", "vertice-agent", "10.0.0.7", 8000),
        SidecarSpec("vertice-agent", "vertice-agent", "h", 1),
    ]
    with pytest.raises(NotTheSame, match="vertice-agent would stand twice"):
        injected(TAKEN, found, options)
    with pytest.raises(NotTheSame, match="vertice-agent would have the name of a service"):
        override_text(found, options, "c.yml", "c.vertice.yml", TAKEN)


def test_an_agent_that_an_earlier_release_wrote_under_a_taken_name_is_taken_out() -> None:
    agent = "  # >>> vertice compose inject: host\n  vertice-agent: {labels: {vertice.sidecar: host}}\n"
    broken = TAKEN.replace("configs:\n", f"{agent}  # <<< vertice compose inject\nconfigs:\n")
    assert ejected(broken) == TAKEN


NAMED = """\
name: mall
services:
  db: {image: postgres, container_name: "${PREFIX:-acme}-db", ports: ["${DB_PORT:-5432}:5432"]}
  Web: {ports: ["${WEB_PORT:-8000}:${WEB_PORT:-8000}"]}
"""


@RECIPES
def test_the_agent_is_told_the_registered_name_and_variables_stay_variables(recipe: Recipe, tmp_path: Path) -> None:
    options = OPTIONS[recipe]
    found = sidecars(NAMED, options)
    after = injected(NAMED, found, options)
    variables = {"WEB_PORT": "9000", "DB_PORT": "6000", "PREFIX": "x"}
    assert existing_agents(after, variables).ports == {
        "db-mall": 6000 if recipe is Recipe.HOST else 5432,
        "web": 9000,
    }
    if recipe is Recipe.HOST:
        content = yaml.safe_load(after)["configs"]["vertice-agent"]["content"]
        config = tmp_path / "agent.toml"
        config.write_text(fill(content, variables).text)
        settings = read_agent_settings({"REGISTRY_URL": "http://127.0.0.1:8888"}, config)
        assert [(s.claim.service_name, s.claim.port) for s in settings.services] == [("db-mall", 6000), ("web", 9000)]
        return
    assert existing_agents(after, {}).names == {"db": "db-mall", "Web": "web"}
    environment = yaml.safe_load(after)["services"]["db-agent"]["environment"]
    assert (environment["SERVICE_NAME"], environment["SERVICE_HOST"]) == ("db-mall", "${PREFIX:-acme}-db")
    filled = {name: fill(str(value), variables).text for name, value in environment.items()}
    assert read_agent_settings(filled).services[0].claim.host == "x-db"


def test_the_address_of_the_host_may_be_a_variable() -> None:
    options = Options(recipe=Recipe.HOST, host_address="${HOST_IP:-10.0.0.7}")
    text = override_text(sidecars(TEXT, options), options, "c.yml", "o.yml", TEXT)
    agent = yaml.safe_load(text)["services"]["vertice-agent"]
    assert environment_of(agent)["AGENT_DNS_LISTEN"] == "10.0.0.7:53"
    assert yaml.safe_load(text)["services"]["web_shop"]["dns"] == ["${HOST_IP:-10.0.0.7}"]
