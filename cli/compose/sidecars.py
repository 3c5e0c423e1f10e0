"""Turns each service's sidecar specification into the entries that go into a compose file.

Pure. sidecar_plan decides which services get a sidecar; this module implements the recipes:

- `netns`: an agent in the network namespace of each service, which is also the service's resolver.
- `beside`: an agent on the networks of each service, under its own name. It registers and checks, and answers nobody.
- `host`: one agent in the network namespace of the host, which serves and resolves for all services.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from cli.compose.model import Project
from cli.compose.splice import Anchored
from registry_core.domain.host_port import host_port
from registry_core.shared_secret import SECRET

IMAGE: Final = "vertice-agent"
REGISTRY_IMAGE: Final = "vertice-registry"
REGISTRY_SERVICE: Final = "vertice-registry"
REGISTRY_PORT: Final = 8888
REGISTRY: Final = f"http://{REGISTRY_SERVICE}:{REGISTRY_PORT}"
HOST_REGISTRY: Final = f"http://127.0.0.1:{REGISTRY_PORT}"
# The variable with the secret that the registry and its agents share, and the name that it had in earlier releases.
SECRET_VARIABLE: Final = SECRET.name
(OLDER_SECRET_VARIABLE,) = SECRET.aliases
# Docker's own fallback when the host has no resolver that containers can reach.
FORWARD: Final = "8.8.8.8,8.8.4.4"
# The label of what is ours in a file: the recipe of an agent, or that it is the registry.
LABEL: Final = "vertice.sidecar"
REGISTRY_LABEL: Final = "registry"
NAME_LABEL: Final = "vertice.name"
SHARED: Final = "x-vertice-agent"
HOST_AGENT: Final = "vertice-agent"
CONFIG: Final = "vertice-agent"
CONFIG_PATH: Final = "/etc/vertice/agent.toml"
DNS_PORT: Final = 53
HTTP_PORT: Final = 8880
_HOST_STATE: Final = "/var/lib/vertice-host"
_ANCHOR: Final = "vertice-agent"
_ENVIRONMENT_ANCHOR: Final = "vertice-agent-environment"
# Docker's default address pools for bridge networks.
_BRIDGES: Final = "172.16.0.0/12,192.168.0.0/16"


class Recipe(enum.Enum):
    """How agents are attached to services."""

    NETNS = "netns"
    BESIDE = "beside"
    HOST = "host"


class Options(msgspec.Struct, frozen=True):
    """The operator's settings for all agents.

    Only for `host`: `host_address` is where containers reach this host, and `config` the agent's entry in `configs`.
    `registry_image`: a registry of that image is added, which this host reaches at `registry_port`; empty: none is.
    """

    recipe: Recipe = Recipe.NETNS
    image: str = IMAGE
    registry: str = REGISTRY
    forward: str = ""
    host_address: str = ""
    zone: str = "vertice.internal"
    memory: str = "128M"
    cpus: str = "0.25"
    podman: bool = False
    config: str = CONFIG
    registry_image: str = ""
    registry_port: int = REGISTRY_PORT


class SidecarSpec(msgspec.Struct, frozen=True):
    """A service to register, by the agent that is named `agent`: its own, or the host's.

    `dns`: the agent is the service's resolver. `sysctls`: the service has none of its own. `check`: for AGENT_CHECK.
    `name`: its name in the registry, empty when that is the service's own. `host`, `written_port` and `written_path`
    are as in the file: with variables, which Compose fills in when the fleet starts.
    """

    service: str
    agent: str
    host: str
    port: int
    health_endpoint: str = "/health"
    protocol: str = "http"
    check: str = "http"
    networks: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    listens_on: tuple[int, ...] = ()
    dns: bool = True
    sysctls: bool = True
    name: str = ""
    written_port: str = ""
    written_path: str = ""

    @property
    def registered_name(self) -> str:
        return self.name or self.service

    @property
    def health_path(self) -> str:
        """The path of the health check, in Compose's syntax for text with variables."""
        return self.written_path or _literal(self.health_endpoint)


class Additions(msgspec.Struct, frozen=True):
    """Everything to insert into a file, by place and in order. `entries`: the additions to each service itself."""

    services: Mapping[str, Any]
    top: Mapping[str, Any] = {}
    configs: Mapping[str, Any] = {}
    entries: Mapping[str, Mapping[str, Any]] = {}


def without_agents(project: Project) -> Project:
    """Return the project without its agents, which do not count as services of the fleet.

    A service keeps the name under which its agent registers it, also when the project's own name has changed since.
    """
    services = {name: service for name, service in project.services.items() if LABEL not in service.labels}
    # A variable that only the registry among them requires is no fault of the fleet.
    problems = tuple(p for p in project.problems if p.code != "variable-required" or p.service in (None, *services))
    fleet = msgspec.structs.replace(project, services=services, problems=problems)
    return with_names(fleet, _told_names(project))


def with_names(project: Project, names: Mapping[str, str]) -> Project:
    """Return the project with these names for services that are registered under another name than their own.

    A label that the file has takes precedence.
    """
    services = dict(project.services)
    for name, registered in names.items():
        service = services.get(name)
        if service is not None and registered != name and NAME_LABEL not in service.labels:
            services[name] = msgspec.structs.replace(service, registered_as=registered)
    return msgspec.structs.replace(project, services=services)


def _told_names(project: Project) -> dict[str, str]:
    names: dict[str, str] = {}
    for agent in project.services.values():
        told = agent.env("SERVICE_NAME") if LABEL in agent.labels else None
        if told is None or not told.value:
            continue
        mode, _, beside = (agent.network_mode or "").partition(":")
        waits = [dependency.name for dependency in agent.depends_on]
        beside = beside if mode == "service" else waits[0] if len(waits) == 1 else ""
        names.setdefault(beside, told.value)
    return names


def shared_entries(options: Options) -> dict[str, Any]:
    """Return the entries below `x-vertice-agent`, without anchors."""
    return {SHARED: _shared(options)}


def additions(sidecars: Sequence[SidecarSpec], options: Options, *, anchors: bool) -> Additions:
    """Return the additions for these sidecars. With `anchors`, shared entries are written once in `x-vertice-agent`."""
    if options.recipe is Recipe.HOST:
        return _of_host(sidecars, options)
    shared = _shared(options)
    services = {s.agent: _sidecar(s, options, shared, anchors=anchors) for s in sidecars}
    entries = {s.service: _entries(s, options) for s in sidecars if options.recipe is Recipe.NETNS}
    return Additions(
        services, {SHARED: _anchored(shared)} if anchors else {}, {}, {n: e for n, e in entries.items() if e}
    )


def _entries(sidecar: SidecarSpec, options: Options) -> dict[str, Any]:
    """Return the entries that a service needs to use the agent in its namespace as its resolver."""
    found: dict[str, Any] = {"dns": ["127.0.0.1"]} if sidecar.dns else {}
    if options.podman and sidecar.dns and sidecar.sysctls:
        # Lets an unprivileged user listen on port 53. Docker sets this by default.
        found["sysctls"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    return found


def _shared(options: Options) -> dict[str, Any]:
    """Return the entries that every agent in a file shares."""
    environment = {
        "REGISTRY_URL": options.registry,
        # Both, for a fleet whose `.env` has the older one; an empty value sets nothing.
        SECRET_VARIABLE: f"${{{SECRET_VARIABLE}:-}}",
        OLDER_SECRET_VARIABLE: f"${{{OLDER_SECRET_VARIABLE}:-}}",
    }
    if options.recipe is Recipe.NETNS:
        environment["AGENT_DNS_FORWARD"] = options.forward or f"${{VERTICE_DNS_FORWARD:-{FORWARD}}}"
    elif options.forward:
        environment["AGENT_DNS_FORWARD"] = options.forward
    if options.zone != "vertice.internal":
        environment["AGENT_DNS_ZONE"] = options.zone
    return {
        "image": options.image,
        "restart": "unless-stopped",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        # The agent drains before it ends: 3 s for acknowledgements, 5 s for cached answers to expire, and a margin.
        "stop_grace_period": "15s",
        "deploy": {"resources": {"limits": {"cpus": options.cpus, "memory": options.memory}}},
        "labels": {LABEL: options.recipe.value},
        "environment": environment,
    }


def _anchored(shared: Mapping[str, Any]) -> Anchored:
    return Anchored(_ANCHOR, {**shared, "environment": Anchored(_ENVIRONMENT_ANCHOR, shared["environment"])})


def _sidecar(sidecar: SidecarSpec, options: Options, shared: Mapping[str, Any], *, anchors: bool) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if options.recipe is Recipe.NETNS:
        own["network_mode"] = f"service:{sidecar.service}"
        # Recreating the service's container removes the namespace, so the agent must be recreated too.
        own["depends_on"] = {sidecar.service: {"condition": "service_started", "restart": True}}
    else:
        own["depends_on"] = {sidecar.service: {"condition": "service_started"}}
        if sidecar.networks:
            own["networks"] = list(sidecar.networks)
    if sidecar.profiles:
        own["profiles"] = list(sidecar.profiles)
    environment = _environment(sidecar, options.recipe)
    if anchors:
        return {"<<": Anchored(_ANCHOR), **own, "environment": {"<<": Anchored(_ENVIRONMENT_ANCHOR), **environment}}
    return {**shared, **own, "environment": {**shared["environment"], **environment}}


def _environment(sidecar: SidecarSpec, recipe: Recipe) -> dict[str, str]:
    found = {
        "SERVICE_NAME": sidecar.registered_name,
        "SERVICE_HOST": sidecar.host,
        "SERVICE_PORT": sidecar.written_port or str(sidecar.port),
        "SERVICE_HEALTH_ENDPOINT": sidecar.health_path,
        "SERVICE_PROTOCOL": sidecar.protocol,
        "AGENT_CHECK": sidecar.check,
    }
    if recipe is Recipe.BESIDE:
        # Nothing queries this agent, so it does not need a privileged port.
        found["AGENT_DNS_LISTEN"] = "127.0.0.1:8653"
    elif recipe is Recipe.NETNS:
        found["AGENT_FOLLOW_NAMESPACE"] = "on"  # the service gets a new namespace when it restarts
        # The service already listens on this port in the shared namespace.
        if DNS_PORT in sidecar.listens_on:
            found["AGENT_DNS_LISTEN"] = "127.0.0.1:8653"
        else:
            found["AGENT_DNS_LISTEN"] = f"127.0.0.1:{DNS_PORT}"
        if HTTP_PORT in sidecar.listens_on:
            free = next(port for port in range(HTTP_PORT + 1, 65536) if port not in sidecar.listens_on)
            found["AGENT_HTTP_LISTEN"] = f"127.0.0.1:{free}"
    return found


def _listen(host: str, port: int) -> str:
    """Return host and port; a host with variables is taken for a name or an IPv4 address."""
    return host + host_port("", port) if "$" in host else host_port(host, port)


def _literal(text: str) -> str:
    """Return text escaped so that compose's variable substitution leaves it unchanged."""
    return text.replace("$", "$$")


# -- one agent for the host


def _of_host(sidecars: Sequence[SidecarSpec], options: Options) -> Additions:
    shared = _shared(options)
    environment = {
        **shared["environment"],
        "AGENT_CONFIG": CONFIG_PATH,
        "AGENT_STATE_DIR": _HOST_STATE,
        "AGENT_DNS_LISTEN": _listen(options.host_address, DNS_PORT),
        "AGENT_DNS_ALLOW": f"${{AGENT_DNS_ALLOW:-127.0.0.0/8,{_BRIDGES}}}",
    }
    agent = {
        **shared,
        # In the host's network only root may listen on port 53; this root has that one capability and no other.
        "user": "0:0",
        "cap_add": ["NET_BIND_SERVICE"],
        "network_mode": "host",
        # The image's own folder belongs to another user, and root without capabilities cannot write to it.
        "volumes": [_HOST_STATE],
        "configs": [{"source": options.config, "target": CONFIG_PATH}],
        "environment": environment,
    }
    config = {options.config: {"content": agent_toml(sidecars)}}
    entries = {s.service: {"dns": [options.host_address]} for s in sidecars if s.dns}
    name = next((s.agent for s in sidecars), HOST_AGENT)
    return Additions({name: agent}, {}, config, entries)


def agent_toml(sidecars: Iterable[SidecarSpec]) -> str:
    """Return the agent's configuration for many services, escaped for compose (`$` is written `$$`)."""
    tables = []
    for sidecar in sidecars:
        texts = {
            "name": sidecar.registered_name,
            "host": sidecar.host,
            "health_endpoint": sidecar.health_path,
            "protocol": sidecar.protocol,
            "check": sidecar.check,
        }
        lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in texts.items()]
        lines.insert(2, f"port = {sidecar.written_port or sidecar.port}")  # a number, once it is filled in
        tables.append("\n".join(("[[service]]", *lines, "")))
    return "\n".join(tables)
