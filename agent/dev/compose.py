"""Reads a compose file into a plan: which services can be started, and what is wrong with the rest.

It takes names, ports, replicas, health checks and environments, and leaves all else alone. It follows
no `include` and no `extends`, fills in no variables, and starts nothing. A mistake costs the service
that has it, never the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

import msgspec
import yaml

from agent.dev.addresses import Address, addresses_in, judged
from agent.dev.plan import MAX_INSTANCES, MAX_REPLICAS, Finding, Plan, PlannedService, Weight
from agent.dev.ports import PortsOf, ports_of
from registry_core.domain.names import check_service_name, label_of
from registry_core.domain.registration import check_health_endpoint
from registry_core.errors import CallerError, ValidationError

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_URL: Final = re.compile(r"https?://[^\s\"'|;)&]+")
_KEPT_TAGS: Final = frozenset({"tag:yaml.org,2002:merge", "tag:yaml.org,2002:null"})

if TYPE_CHECKING:
    _Base = yaml.SafeLoader
else:  # the C loader, ten times as fast, where PyYAML was built with it
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ComposeError(CallerError):
    """Raised when the file as a whole cannot be read as a compose file; its text is one line."""


class _Loader(_Base):
    """Safe, and every scalar stays text: YAML 1.1 would take the port 5000:22 for a number in base 60."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT_TAGS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _untagged(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    # `!reset` and `!override` are Compose's own: what matters here is the value that they stand before.
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loader.add_multi_constructor("!", _untagged)


class _Entry(msgspec.Struct, frozen=True):
    name: str
    line: int
    body: dict[str, Any]
    ports: PortsOf


def read_compose(path: Path) -> Plan:
    """Return what can be started of the compose file at `path`. Raises ComposeError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ComposeError(f"{path}: {error.strerror or error}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ComposeError(
            f"{path}: it has more than {MAX_FILE_BYTES // 1024 // 1024} MB, too large for a compose file"
        )
    try:
        return plan_of(raw)
    except ComposeError as error:
        raise ComposeError(f"{path}{error.message}") from None


def plan_of(raw: bytes) -> Plan:
    """Return what can be started of a compose file's bytes. Raises ComposeError, without the file's name."""
    whole, named = _loaded(raw)
    services = whole.get("services")
    if not isinstance(services, dict) or not services:
        _refuse(0, "there are no `services` in it, so it is no compose file")
    lines: dict[str, int] = {}
    findings: list[Finding] = []
    for name, line in named:
        if name in lines:
            findings.append(Finding(Weight.UNUSABLE, name, "it stands twice in the file; the last one counts", line))
        lines[name] = line
    if whole.get("include"):
        findings.append(Finding(Weight.UNUSABLE, "include", "other files are not followed; name each on its own"))
    entries = []
    for name, body in services.items():
        line = lines.get(str(name), 0)
        if isinstance(body, dict):
            entries.append(_Entry(str(name), line, body, ports_of(body)))
        else:
            findings.append(Finding(Weight.UNUSABLE, str(name), "it says nothing, so it has no port", line))
    planned = _planned(entries, findings)
    findings += _shared_host_ports(entries)
    findings += _wrong_addresses(entries)
    return Plan(len(services), tuple(planned), tuple(dict.fromkeys(findings)))


def _refuse(line: int, reason: str) -> NoReturn:
    raise ComposeError(f":{line}: {reason}" if line else f": {reason}")


def _loaded(raw: bytes) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """Return the document, and each service's name with its line, repeated names included."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(raw.count(b"\n", 0, error.start) + 1, "it is not UTF-8 text")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            found = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        _refuse(mark.line + 1 if mark is not None else 0, f"it is not YAML: {error.problem or error.context}")
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        _refuse(0, f"it is not YAML: {reason[:200]}")
    if found is None or node is None:
        _refuse(0, "it is empty")
    if not isinstance(found, dict):
        _refuse(1, f"it is no compose file: it holds a {'list' if isinstance(found, list) else 'text'}, not a map")
    return found, _named_services(node)


def _named_services(node: yaml.Node) -> list[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    return [
        (str(name.value), name.start_mark.line + 1)
        for key, value in node.value
        if key.value == "services" and isinstance(value, yaml.MappingNode)
        for name, _ in value.value
    ]


def _planned(entries: list[_Entry], findings: list[Finding]) -> list[PlannedService]:
    planned: list[PlannedService] = []
    spelled: dict[str, str] = {}
    room = MAX_INSTANCES
    for entry in entries:
        unusable = _why_unusable(entry, spelled)
        doubts: list[str] = []
        replicas = _replicas(entry.body, doubts)
        if unusable is None and replicas > room:
            unusable = f"it would be more than {MAX_INSTANCES} stand-ins in all"
        if unusable is None and replicas == 0:
            unusable = "it asks for no replicas"
        port = entry.ports.main
        if unusable is not None or port is None:
            findings.append(Finding(Weight.UNUSABLE, entry.name, unusable or "no port", entry.line))
            continue
        health_endpoint = _health(entry, doubts)
        doubts += entry.ports.problems
        findings += (Finding(Weight.DOUBTFUL, entry.name, doubt, entry.line) for doubt in doubts)
        spelled[label_of(entry.name)] = entry.name
        room -= replicas
        planned.append(PlannedService(entry.name, port, health_endpoint, replicas))
    return planned


def _why_unusable(entry: _Entry, spelled: dict[str, str]) -> str | None:
    try:
        check_service_name(entry.name)
    except ValidationError as error:
        return error.message
    twin = spelled.get(label_of(entry.name))
    if twin is not None:
        return f"it and {twin!r} are one name in DNS ('_' is '-' there), and {twin!r} came first"
    if entry.ports.main is not None:
        return None
    if entry.ports.problems:
        return "; ".join(entry.ports.problems)
    if entry.body.get("extends"):
        return "it has no port of its own, and `extends` is not followed"
    if entry.body.get("ports"):
        return "it has no TCP port"
    return "it has no port, neither in `ports` nor in `expose`"


def _replicas(body: dict[str, Any], doubts: list[str]) -> int:
    deploy = body.get("deploy")
    given = deploy.get("replicas") if isinstance(deploy, dict) else None
    given = body.get("scale") if given is None else given
    if given is None:
        return 1
    if not re.fullmatch(r"\d{1,6}", str(given), re.ASCII):
        doubts.append(f"{str(given)[:40]!r} is no number of replicas; one is started")
        return 1
    if int(given) > MAX_REPLICAS:
        doubts.append(f"{given} replicas are many for one machine; {MAX_REPLICAS} are started")
    return min(int(given), MAX_REPLICAS)


def _health(entry: _Entry, doubts: list[str]) -> str:
    """Return the path that the service's own health check asks for; `/health` when it asks for none."""
    check = entry.body.get("healthcheck")
    test = check.get("test") if isinstance(check, dict) else None
    words = " ".join(str(word) for word in test) if isinstance(test, list) else str(test or "")
    found = _URL.search(words)
    if found is None:
        return "/health"
    try:
        url = urlsplit(found[0])
        port = url.port
    except ValueError:
        doubts.append("its health check asks an address that is no URL")
        return "/health"
    if port is not None and port not in entry.ports.container:
        doubts.append(f"its health check asks port {port}, and it listens on {entry.ports.main}")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        return check_health_endpoint(path)
    except ValidationError as error:
        doubts.append(f"its health check asks for {path[:60]!r}: {error.message}; /health is used")
        return "/health"


def _shared_host_ports(entries: list[_Entry]) -> list[Finding]:
    first: dict[str, str] = {}
    findings = []
    for entry in entries:
        for port in entry.ports.published:
            holder = first.setdefault(port, entry.name)
            if holder != entry.name:
                shown = port.removeprefix(":")
                reason = f"it publishes port {shown} of the host, as {holder} does; Docker can start only one of them"
                findings.append(Finding(Weight.DOUBTFUL, entry.name, reason, entry.line))
    return findings


def _wrong_addresses(entries: list[_Entry]) -> list[Finding]:
    listening: dict[str, PortsOf] = {}
    for entry in entries:
        listening[entry.name.lower()] = entry.ports
    for entry in entries:
        for name in (entry.name, *_aliases(entry.body)):
            for spelling in (name.lower(), label_of(name)):
                listening.setdefault(spelling, entry.ports)
    found: dict[Address, list[str]] = {}
    for entry in entries:
        for address in dict.fromkeys(addresses_in(entry.body.get("environment"))):
            found.setdefault(address, []).append(entry.name)
    return list(judged(found, listening))


def _aliases(body: dict[str, Any]) -> list[str]:
    """Return the other names under which Docker would find a service."""
    aliases = [str(body[key]) for key in ("container_name", "hostname") if body.get(key)]
    networks = body.get("networks")
    for network in networks.values() if isinstance(networks, dict) else ():
        given = network.get("aliases") if isinstance(network, dict) else None
        aliases += (str(alias) for alias in given) if isinstance(given, list) else ()
    return aliases
