"""The agents already in a compose file or its override file: what they register, and which services ask them.

Pure. It reads agents written by `inject`, and ones written by hand in the same way.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from cli.compose.discovered_names import ZONE
from cli.compose.inject import as_written
from cli.compose.interpolation import BadVariable, fill
from cli.compose.sidecars import LABEL, Recipe, SidecarSpec
from registry_core.domain.host_port import split_host_port

_PORT: Final = re.compile(r"\d{1,5}", re.ASCII)


class ExistingAgents(msgspec.Struct, frozen=True):
    """The port of each registered name, the services that ask an agent, the registered names of services, and the zone.

    The host's agent has names alone; which service each of them belongs to is not known from it.
    """

    ports: Mapping[str, int] = {}
    asking: frozenset[str] = frozenset()
    names: Mapping[str, str] = {}
    zone: str = ZONE


def existing_agents(text: str, variables: Mapping[str, str]) -> ExistingAgents:
    """Return the agents of a compose file's text, with these variables. Raises ComposeError when it cannot be read."""
    whole = as_written(text)
    services = whole.get("services")
    if not isinstance(services, dict):
        return ExistingAgents()
    ports: dict[str, int] = {}
    resolvers: set[str] = set()
    zone = ZONE
    names: dict[str, str] = {}
    for body in services.values():
        recipe = _recipe(body)
        if recipe is None:
            continue
        environment = body.get("environment")
        environment = environment if isinstance(environment, dict) else {}
        zone = str(environment.get("AGENT_DNS_ZONE") or zone)
        if recipe is Recipe.HOST:
            resolvers.add(_host_of(_filled(environment.get("AGENT_DNS_LISTEN"), variables)))
            ports |= _configured(whole, body, variables)
            continue
        port = _port(_filled(environment.get("SERVICE_PORT"), variables))
        name = environment.get("SERVICE_NAME")
        if port is not None and isinstance(name, str):
            ports[name] = port
            names |= dict.fromkeys(_service_beside(body), name)
            if recipe is Recipe.NETNS:
                resolvers.add("127.0.0.1")
    asking = {name for name, body in services.items() if isinstance(body, dict) and _asks(body.get("dns"), resolvers)}
    return ExistingAgents(ports, frozenset(asking), names, zone)


def agents_with(sidecars: Sequence[SidecarSpec], recipe: Recipe, zone: str = ZONE) -> ExistingAgents:
    """Return the agents as they will be with these sidecars."""
    asking = frozenset(s.service for s in sidecars if s.dns and recipe is not Recipe.BESIDE)
    names = {s.service: s.registered_name for s in sidecars}
    return ExistingAgents({s.registered_name: s.port for s in sidecars}, asking, names, zone)


def _port(given: object) -> int | None:
    """Return the port that an agent is told, None when it is told no port."""
    return int(text) if _PORT.fullmatch(text := str(given)) is not None else None


def _filled(value: Any, variables: Mapping[str, str]) -> str:
    try:
        return fill(str(value or ""), variables).text
    except BadVariable:
        return ""


def _service_beside(body: Mapping[str, Any]) -> list[str]:
    """Return the service of an agent: the one whose network it shares, or the only one that it waits for."""
    mode, _, name = str(body.get("network_mode") or "").partition(":")
    waits = body.get("depends_on")
    waits = list(waits) if isinstance(waits, dict | list) else []
    return [name] if mode == "service" else [str(waits[0])] if len(waits) == 1 else []


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


def _configured(whole: Mapping[str, Any], body: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, int]:
    """Return the names and ports in the configuration of the host's agent."""
    configs, own = whole.get("configs"), body.get("configs")
    sources = [c.get("source") for c in own if isinstance(c, dict)] if isinstance(own, list) else []
    found: dict[str, int] = {}
    for source in sources:
        config = configs.get(source) if isinstance(configs, dict) and isinstance(source, str) else None
        content = config.get("content") if isinstance(config, dict) else None
        try:
            tables = tomllib.loads(_filled(content, variables)).get("service", [])
        except tomllib.TOMLDecodeError:
            continue
        for table in tables if isinstance(tables, list) else ():
            port = _port(table.get("port")) if isinstance(table, dict) else None
            if port is not None and "name" in table:
                found[str(table["name"])] = port
    return found
