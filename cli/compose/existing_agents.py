"""The agents already in a compose file or its override file: what they register, and which services ask them.

Pure. It reads agents written by `inject`, and ones written by hand in the same way.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cli.compose.discovered_names import ZONE
from cli.compose.inject import as_written
from cli.compose.sidecars import CONFIG, LABEL, Recipe, SidecarSpec
from registry_core.domain.host_port import split_host_port


class ExistingAgents(msgspec.Struct, frozen=True):
    """The port under which each service is registered, the services that ask an agent, and the agents' zone."""

    ports: Mapping[str, int] = {}
    asking: frozenset[str] = frozenset()
    zone: str = ZONE


def existing_agents(text: str) -> ExistingAgents:
    """Return the agents of a compose file's text. Raises ComposeError when it cannot be read."""
    whole = as_written(text)
    services = whole.get("services")
    if not isinstance(services, dict):
        return ExistingAgents()
    ports: dict[str, int] = {}
    resolvers: set[str] = set()
    zone = ZONE
    for body in services.values():
        recipe = _recipe(body)
        if recipe is None:
            continue
        environment = body.get("environment")
        environment = environment if isinstance(environment, dict) else {}
        zone = str(environment.get("AGENT_DNS_ZONE") or zone)
        if recipe is Recipe.HOST:
            resolvers.add(_host_of(str(environment.get("AGENT_DNS_LISTEN") or "")))
            ports |= _configured(whole)
        elif str(environment.get("SERVICE_PORT")).isdecimal():
            ports[str(environment.get("SERVICE_NAME"))] = int(environment["SERVICE_PORT"])
            if recipe is Recipe.NETNS:
                resolvers.add("127.0.0.1")
    asking = {name for name, body in services.items() if isinstance(body, dict) and _asks(body.get("dns"), resolvers)}
    return ExistingAgents(ports, frozenset(asking), zone)


def agents_with(sidecars: Sequence[SidecarSpec], recipe: Recipe, zone: str = ZONE) -> ExistingAgents:
    """Return the agents as they will be with these sidecars."""
    asking = frozenset(s.service for s in sidecars if s.dns and recipe is not Recipe.BESIDE)
    return ExistingAgents({s.service: s.port for s in sidecars}, asking, zone)


def _host_of(listen: str) -> str:
    try:
        return split_host_port(listen)[0]
    except ValueError:  # perhaps built from variables
        return ""


def _recipe(body: Any) -> Recipe | None:
    labels = body.get("labels") if isinstance(body, dict) else None
    label = labels.get(LABEL) if isinstance(labels, dict) else None
    return next((recipe for recipe in Recipe if recipe.value == label), None)


def _asks(dns: Any, resolvers: set[str]) -> bool:
    first = dns[0] if isinstance(dns, list) and dns else dns
    return isinstance(first, str) and first in resolvers


def _configured(whole: Mapping[str, Any]) -> dict[str, int]:
    configs = whole.get("configs")
    config = configs.get(CONFIG) if isinstance(configs, dict) else None
    content = config.get("content") if isinstance(config, dict) else None
    try:
        tables = tomllib.loads(str(content or "").replace("$$", "$")).get("service", [])
    except tomllib.TOMLDecodeError:
        return {}
    return {str(t["name"]): int(t["port"]) for t in tables if isinstance(t, dict) and {"name", "port"} <= t.keys()}
