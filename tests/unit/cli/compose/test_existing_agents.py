"""What agents in a compose file register, also where they are written by hand and badly."""

from __future__ import annotations

import pytest

from cli.compose.existing_agents import existing_agents

AGENT = """\
services:
  shop: {{image: x}}
  agent:
    network_mode: "service:shop"
    labels: {{vertice.sidecar: netns}}
    environment: {{SERVICE_NAME: {name}, SERVICE_PORT: "{port}"}}
"""
HOST = """\
services:
  agent:
    labels: {{vertice.sidecar: host}}
    environment: {{AGENT_DNS_LISTEN: "10.0.0.7:53"}}
    configs: [{{source: agent}}]
configs:
  agent:
    content: |
      {content}
"""


@pytest.mark.parametrize(
    ("name", "port", "ports"),
    [
        ("shop", "8000", {"shop": 8000}),
        ("shop", "${PORT}", {"shop": 8034}),
        ("shop", "web", {}),
        ("shop", "1" * 5000, {}),
        ("", "8000", {}),
    ],
)
def test_an_agent_without_a_name_or_a_port_registers_nothing(name: str, port: str, ports: dict[str, int]) -> None:
    found = existing_agents(AGENT.format(name=name, port=port), {"PORT": "8034"})
    assert found.ports == ports
    assert found.names == ({"shop": "shop"} if ports else {})


@pytest.mark.parametrize(
    ("content", "ports"),
    [
        ('service = [{name = "shop", port = 8000}, {name = "cart", port = "8001"}]', {"shop": 8000, "cart": 8001}),
        ('service = [{name = "shop", port = "web"}, {name = "cart", port = 8001}]', {"cart": 8001}),
        ('service = [{name = "shop", port = inf}, {port = 1}, 7]', {}),
        ('service = "shop"', {}),
        ('service = {name = "shop", port = 1}', {}),
        ("service = 7", {}),
        ("service = [", {}),
    ],
)
def test_a_configuration_of_the_hosts_agent_that_is_odd_registers_what_it_can(
    content: str, ports: dict[str, int]
) -> None:
    assert existing_agents(HOST.format(content=content), {}).ports == ports
