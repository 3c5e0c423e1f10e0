"""Turns the tree of one service into a ComposeService.

Pure. A part that cannot be read is reported and left out; the rest of the service is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingType

from cli.compose.env_file import Statement, filled_in
from cli.compose.errors import ComposeError, Place
from cli.compose.health_checks import healthcheck_of
from cli.compose.merge import is_fetched
from cli.compose.model import (
    DEFAULT_NETWORK,
    Attachment,
    Build,
    ComposeService,
    Dependency,
    EnvEntry,
    EnvFile,
    Label,
)
from cli.compose.ports import Port, port_of
from cli.compose.shell_words import BadCommand, words_of
from cli.compose.tree import Mapping, MappingEntry, Node, Scalar, Sequence, is_null, plain

ReportError = Callable[[ComposeError], None]
ReadEnv = Callable[[str, EnvFile], list[Statement] | None]


def service_of(
    name: str, entry: MappingEntry, variables: MappingType[str, str], read_env: ReadEnv, report: ReportError
) -> ComposeService:
    """Return the service of a canonical description. Errors in a part of it go to `report`."""
    body = entry.node
    if not isinstance(body, Mapping):
        return ComposeService(
            name, entry.place, {}, networks=(Attachment(DEFAULT_NETWORK, (), entry.place),), empty=True
        )

    def tell(error: ComposeError) -> None:
        field = f"services.{name}.{error.field}"
        report(
            ComposeError(
                error.message, code=error.code, place=error.place, field=field, service=name, example=error.hint
            )
        )

    env_files = tuple(_files(body, "env_file"))
    mode = _text(body, "network_mode")
    networks = tuple(_networks(body, mode, entry.place))
    names = (name, _text(body, "container_name"), _text(body, "hostname"), *(a for n in networks for a in n.aliases))
    return ComposeService(
        name,
        entry.place,
        {key: part.place for key, part in body.entries.items()},
        container_name=_text(body, "container_name"),
        hostname=_text(body, "hostname"),
        domainname=_text(body, "domainname"),
        image=_text(body, "image"),
        build=_build(body.get("build")),
        network_mode=mode,
        networks=networks,
        ports=tuple(_ports(body, "ports", tell)),
        expose=tuple(_ports(body, "expose", tell)),
        environment=tuple(_environment(body, env_files, variables, lambda file: read_env(name, file), report)),
        env_files=env_files,
        healthcheck=healthcheck_of(body, {each.lower() for each in names if each}, variables),
        depends_on=tuple(_dependencies(body.get("depends_on"))),
        links=tuple(_texts(body.get("links"))),
        external_links=tuple(_texts(body.get("external_links"))),
        extra_hosts=tuple(_extra_hosts(body.get("extra_hosts"))),
        profiles=tuple(_texts(body.get("profiles"))),
        replicas=_replicas(body),
        labels=_labels(body, lambda file: read_env(name, file), report),
        command=tuple(_words(body, "command", tell)),
        entrypoint=tuple(_words(body, "entrypoint", tell)),
        restart=_restart(body),
        mode=_text(body.get("deploy"), "mode"),
        built=_built(body),
        written_name=_raw(body.get("container_name")),
        written_profiles=tuple(_raw(item) for item in _items(body.get("profiles"))),
    )


def _text(body: Node | None, key: str) -> str | None:
    node = body.get(key) if isinstance(body, Mapping) else None
    return node.text if isinstance(node, Scalar) and node.text else None


def _texts(node: Node | None) -> Iterator[str]:
    if isinstance(node, Scalar):
        yield node.text
    elif isinstance(node, Sequence):
        yield from (item.text for item in node.items if isinstance(item, Scalar) and not item.null)


def _items(node: Node | None) -> Iterator[Node]:
    yield from node.items if isinstance(node, Sequence) else () if node is None else (node,)


def _raw(node: Node | None) -> str:
    return node.raw if isinstance(node, Scalar) and not node.null else ""


def _build(node: Node | None) -> str | None:
    return _text(node, "context") or "." if isinstance(node, Mapping) else None


def _built(body: Mapping) -> Build | None:
    """Return how its image is built, when that is from a folder beside the file: not from a URL."""
    node = body.get("build")
    if not isinstance(node, Mapping):
        return None
    context = _text(node, "context")
    if context is None:
        context = os.path.dirname(body.place_of("build").file)  # noqa: PTH120 - pure text
    if is_fetched(context):
        return None
    path = os.path.join(context, _text(node, "dockerfile") or "Dockerfile")  # noqa: PTH118 - pure text
    return Build(
        os.path.normpath(path), _text(node, "dockerfile_inline"), _text(node, "target"), _args(node.get("args"))
    )


def _args(node: Node | None) -> dict[str, str | None]:
    if isinstance(node, Mapping):
        return {name: None if is_null(e.node) else str(plain(e.node)) for name, e in node.entries.items()}
    pairs = (text.partition("=") for text in _texts(node))
    return {name: value if sign else None for name, sign, value in pairs}


def _restart(body: Mapping) -> str | None:
    """Return the restart policy as `restart` spells it; `deploy` has it under other names, and takes precedence."""
    deploy = body.get("deploy")
    policy = deploy.get("restart_policy") if isinstance(deploy, Mapping) else None
    condition = _text(policy, "condition")
    return _text(body, "restart") if condition is None else {"none": "no", "any": "always"}.get(condition, condition)


def _networks(body: Mapping, mode: str | None, place: Place) -> Iterator[Attachment]:
    given = body.get("networks")
    if body.get("provider") is not None:  # it is no container
        return
    if not isinstance(given, Mapping) or not given.entries:
        if mode is None:
            yield Attachment(DEFAULT_NETWORK, (), place)
        return
    for name, entry in given.entries.items():
        if name.startswith("x-"):  # an extension, as anywhere but among the networks of the file
            continue
        node = entry.node if isinstance(entry.node, Mapping) else Mapping({}, entry.place)
        addresses = tuple(text for key in ("ipv4_address", "ipv6_address") if (text := _text(node, key)) is not None)
        named = (_text(node, "use_service_name_alias") or "true").lower() not in ("false", "no", "off", "n")
        yield Attachment(name, tuple(_texts(node.get("aliases"))), entry.place, addresses, named)


def _ports(body: Mapping, key: str, tell: ReportError) -> Iterator[Port]:
    node = body.get(key)
    for item in node.items if isinstance(node, Sequence) else ():
        try:
            yield port_of(item, may_publish=key == "ports")
        except ComposeError as error:
            tell(ComposeError(error.message, code=error.code, place=error.place, field=key, example=error.hint))


def _environment(
    body: Mapping,
    env_files: tuple[EnvFile, ...],
    variables: MappingType[str, str],
    read_env: Callable[[EnvFile], list[Statement] | None],
    report: ReportError,
) -> Iterator[EnvEntry]:
    """Return the container's variables: from its env files, later ones winning, overridden by `environment`.

    An env file's variables are filled in from those of the project, then from `environment`, then from the lines
    before them.
    """
    own = {entry.name: entry for entry in _own_environment(body, variables)}
    found: dict[str, EnvEntry] = {}
    known = {name: entry.value for name, entry in own.items() if entry.value is not None}
    lookup = {**known, **variables} if env_files else variables
    for file in env_files:
        statements = read_env(file) or ()
        for line in filled_in(statements, lookup, known, file.path, report):
            place = Place(file.path, line.line)
            found[line.name] = EnvEntry(line.name, line.value, line.raw, place, from_env_file=True)
    yield from (found | own).values()


def _own_environment(body: Mapping, variables: MappingType[str, str]) -> Iterator[EnvEntry]:
    """Return what `environment` says; a name alone has the value of the project's variable."""
    own = body.get("environment")
    for name, entry in own.entries.items() if isinstance(own, Mapping) else ():
        node = entry.node
        if is_null(node):
            yield EnvEntry(name, variables.get(name), "", entry.place)
        elif isinstance(node, Scalar):
            yield EnvEntry(name, node.text, node.raw, entry.place, unset=node.unset)


def _files(body: Mapping, key: str) -> Iterator[EnvFile]:
    for item in _items(body.get(key)):
        if isinstance(item, Scalar):
            yield EnvFile(item.text, True, item.place, key=key)
        elif isinstance(item, Mapping) and isinstance(path := item.get("path"), Scalar):
            required = (_text(item, "required") or "true").lower() != "false"
            yield EnvFile(path.text, required, item.place, _text(item, "format") or "", key)


def _dependencies(node: Node | None) -> Iterator[Dependency]:
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            long = entry.node if isinstance(entry.node, Mapping) else None
            condition = _text(long, "condition") if long else None
            required = (_text(long, "required") or "true").lower() != "false" if long else True
            yield Dependency(name, condition or "service_started", required, entry.place)


def _extra_hosts(node: Node | None) -> Iterator[tuple[str, str]]:
    """Return the names in the container's hosts file, each with its address."""
    for text in _texts(node):
        name, _, addresses = text.partition("=" if "=" in text else ":")
        for address in addresses.split(","):
            yield name, address.removeprefix("[").removesuffix("]")


def _replicas(body: Mapping) -> str | None:
    deploy = body.get("deploy")
    given = deploy.get("replicas") if isinstance(deploy, Mapping) else None
    given = body.get("scale") if given is None else given
    return None if given is None else str(plain(given))


def _labels(
    body: Mapping, read_file: Callable[[EnvFile], list[Statement] | None], report: ReportError
) -> dict[str, Label]:
    """Return the labels: from the files that `label_file` names, later ones winning, overridden by `labels`."""
    found: dict[str, Label] = {}
    known: dict[str, str] = {}
    for file in _files(body, "label_file"):
        for line in filled_in(read_file(file) or (), known, known, file.path, report):
            found[line.name] = Label(line.value, Place(file.path, line.line))
    node = body.get("labels")
    for name, entry in node.entries.items() if isinstance(node, Mapping) else ():
        value = entry.node.text if isinstance(entry.node, Scalar) else str(plain(entry.node))
        found[name] = Label(value, entry.place)
    return found


def _words(body: Mapping, key: str, tell: ReportError) -> list[str]:
    node = body.get(key)
    if not isinstance(node, Scalar):
        return list(_texts(node))
    try:
        return words_of(node.text)
    except BadCommand as error:
        reason = f"{key}: {error}; Compose refuses that"
        tell(ComposeError(reason, code="command", place=node.place, field=key, example=f'{key}: ["sh", "-c", "..."]'))
        return node.text.split()
