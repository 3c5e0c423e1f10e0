"""The ports on which a service listens, as far as its description tells, and the source of each.

Pure. Only the container's ports count: a published host port is never a port to call the service on. `ports` and
`expose` neither open nor close a port, so that a port which is missing there proves nothing. Proof comes from an image
that is built here, whose EXPOSE or health check names its ports.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

import msgspec

from cli.compose.errors import Place
from cli.compose.health_checks import is_management
from cli.compose.image_ports import possible_ports
from cli.compose.images import ImageKind, well_known
from cli.compose.model import ComposeService
from cli.compose.own_port import exposed_by, runs_shared_image_otherwise
from cli.compose.ports import is_port
from cli.compose.variable_names import words_of

# The variables that tell a container its own listening address.
_PORT_VARIABLES: Final = frozenset(
    f"{stem}PORT"
    for stem in (
        *("", "SERVICE_", "APP_", "HTTP_", "HTTPS_", "SERVER_", "LISTEN_", "BIND_", "API_", "WEB_", "GRPC_"),
        *("METRICS_", "ADMIN_", "UVICORN_", "GUNICORN_", "FLASK_RUN_", "NGINX_", "CONTAINER_"),
    )
)
_NUMBER: Final = re.compile(r"\d{1,5}", re.ASCII)
# A port in a command: `--port 4318`, `0.0.0.0:9000`, `-p8080`.
_IN_COMMAND: Final = re.compile(r"(?<!\d)\d{2,5}(?![\d.])", re.ASCII)
# Where a variable's value says to listen: `:8080`, `0.0.0.0:9092`, `http://+:80`, `tcp://[::]:5000`.
_LISTENER: Final = re.compile(
    r"(?<![\w.\])-])(?:0\.0\.0\.0|\[[0-9A-Fa-f:]{1,40}\]|[*+])?:(\d{2,5})(?![\w.])",
    re.ASCII,
)
_HOST_AND_PORT: Final = re.compile(r"(?<![\w.-])([A-Za-z0-9][\w.-]*):(\d{2,5})(?![\w.])", re.ASCII)
_HOST_WORDS: Final = frozenset({"HOST", "HOSTNAME", "ADDR", "ADDRESS", "SERVER", "URL", "URI", "ENDPOINT"})
_MAX_TEXT: Final = 4096


class PortProof(NamedTuple):
    """What proves that a program listens on a port. `over_http`: it says so of its HTTP server alone."""

    port: int
    source: str
    place: Place
    over_http: bool


class ListeningPorts(msgspec.Struct, frozen=True):
    """The ports of one service. `declared`: by `ports` and `expose`; `hinted`: by any other statement.

    `mentioned`: ports that its image, its command or its variables speak of. `shown`: (host port, container port) for
    each published port known for certain. `others`: ports that are not TCP. `proofs`: what rules out other ports;
    only of an image that is built here.
    """

    declared: tuple[range, ...]
    hinted: dict[int, str]
    shown: tuple[tuple[int, int], ...]
    main: int | None
    others: tuple[range, ...] = ()
    mentioned: frozenset[int] = frozenset()
    proofs: tuple[PortProof, ...] = ()
    mappings: tuple[tuple[int, Place], ...] = ()

    def is_declared(self, port: int) -> bool:
        """Return whether `ports` or `expose` has it."""
        return any(port in ports for ports in self.declared)

    def is_named(self, port: int) -> bool:
        """Return whether anything at all speaks of the port as one of the container's."""
        return self.is_declared(port) or port in self.hinted or port in self.mentioned

    @property
    def known(self) -> bool:
        """Whether anything is known about its ports."""
        return bool(self.declared or self.hinted)

    def behind(self, published: int) -> int | None:
        """Return the container's port that the host publishes as `published`."""
        return next((target for shown, target in self.shown if shown == published), None)

    def mapping_of(self, published: int) -> Place | None:
        """Return the place of the entry of `ports` that publishes a port."""
        return next((place for shown, place in self.mappings if shown == published), None)

    def against(self, port: int, *, is_http: bool) -> PortProof | None:
        """Return what proves that nothing listens on a port, or None when nothing does.

        A health check over HTTP proves that of the HTTP server alone: the program may have others.
        """
        if self.is_named(port):
            return None
        return next((proof for proof in self.proofs if is_http or not proof.over_http), None)

    @property
    def text(self) -> str:
        """The ports as text, the declared ones if there are any."""
        if self.declared:
            spans = dict.fromkeys(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in self.declared)
            return " or ".join(list(spans)[:3]) + (" or others" if len(spans) > 3 else "")
        return " or ".join(f"{port} (by {why})" for port, why in list(self.hinted.items())[:3])

    @property
    def numbers(self) -> list[int]:
        """The ports, the declared ones if there are any; of a wide range only the first ones."""
        ports = [port for ports in self.declared for port in ports[:20]] or list(self.hinted)
        return list(dict.fromkeys(ports))[:20]


def listening_of(service: ComposeService, *, is_own_image: bool = False) -> ListeningPorts:
    """Return the ports on which a service listens, as far as its description tells.

    `is_own_image`: its image is built here, so that EXPOSE and its health check speak for its program.
    """
    declared = tuple(dict.fromkeys(p.targets for p in service.tcp_ports()))
    published = [(pair, p.place) for p in service.ports if p.protocol == "tcp" for pair in p.pairs()]
    hinted: dict[int, str] = {}
    check = service.healthcheck
    if check is not None and check.port is not None and not check.disabled and is_port(check.port):
        hinted[check.port] = "its health check"
    for entry in service.environment:
        if entry.name.upper() in _PORT_VARIABLES and _NUMBER.fullmatch((entry.value or "").strip()):
            port = int(entry.value or "")
            if is_port(port):
                hinted.setdefault(port, entry.name)
    built = service.built
    usual = well_known(service.image)
    if not declared and not hinted:
        if usual is not None:
            hinted[usual.ports[0]] = "its image"
        elif built is not None:
            hinted |= dict.fromkeys(exposed_by(service), "EXPOSE")
    main = next((port for port in hinted if any(port in d for d in declared)), None) if declared else None
    if main is None:
        main = declared[0][0] if declared else next(iter(hinted), None)
    mentioned = {*possible_ports(service.image), *(possible_ports(built.base) if built is not None else ())}
    if built is not None:
        mentioned |= {*built.exposed, *built.mentioned, *([built.check_port] if built.check_port else [])}
    return ListeningPorts(
        declared,
        hinted,
        tuple(pair for pair, _ in published),
        main,
        tuple(p.targets for p in (*service.ports, *service.expose) if p.protocol != "tcp"),
        frozenset(mentioned | set(_mentioned(service))),
        tuple(_proofs(service)) if is_own_image else (),
        tuple((shown, place) for (shown, _), place in published),
    )


def _mentioned(service: ComposeService) -> Iterator[int]:
    """Return the ports of which a service's command, labels and variables speak, as its own or perhaps so."""
    for word in (*service.entrypoint, *service.command):
        yield from (int(number) for number in _IN_COMMAND.findall(word[:_MAX_TEXT]))
    pairs = [(entry.name, entry.value or "") for entry in service.environment]
    pairs += [(name, label.value) for name, label in service.labels.items()]
    own = {name.lower() for name in (service.name, service.container_name, service.hostname) if name}
    variables = frozenset(entry.name.upper() for entry in service.environment)
    for name, value in pairs:
        if _NUMBER.fullmatch(value.strip()) and "PORT" in words_of(name):
            if not _is_of_another(name.upper(), variables):
                yield int(value)
        elif ":" in value:
            text = value[:_MAX_TEXT]
            yield from (int(number) for number in _LISTENER.findall(text))
            yield from (int(number) for host, number in _HOST_AND_PORT.findall(text) if host.lower() in own)


def _is_of_another(name: str, variables: Collection[str]) -> bool:
    """Return whether a port's variable belongs to a host's, so that the port is another's: DB_PORT with DB_HOST."""
    stem = name.removesuffix("PORT")
    if name in _PORT_VARIABLES or not stem.strip("_"):
        return False
    return any(f"{stem}{word}" in variables for word in _HOST_WORDS)


def _proofs(service: ComposeService) -> Iterator[PortProof]:
    built, check = service.built, service.healthcheck
    place = service.places.get("build", service.place)
    for port in exposed_by(service) if built is not None and not built.is_partial else ():
        yield PortProof(port, f"EXPOSE names {port}", place, over_http=False)
    if built is not None and built.check_port is not None and not runs_shared_image_otherwise(service):
        yield PortProof(built.check_port, f"the health check in it asks {built.check_port}", place, over_http=True)
    if check is None or not check.url or check.port is None or check.disabled or is_management(check.path or ""):
        return
    if is_port(check.port):
        yield PortProof(check.port, f"its health check asks {check.port}", check.place, over_http=True)


def is_infrastructure(service: ComposeService) -> bool:
    """Return whether its image is a well-known infrastructure one, such as a database."""
    image = well_known(service.image)
    return image is not None and image.kind is not ImageKind.APPLICATION
