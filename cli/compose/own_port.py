"""Finds the port on which a service listens, and how that port stands in the file.

Pure. In order: `ports` and `expose`; the variable PORT; the service's own health check; EXPOSE in the Dockerfile of an
image that is built here; the usual port of a well-known image. The last two describe the image's own program, and do
not count when the service runs another one.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from cli.compose.databases import CLIENTS, programs_in
from cli.compose.images import image_name, well_known
from cli.compose.model import ComposeService, Healthcheck
from cli.compose.ports import Port, is_port

_NUMBER: Final = re.compile(r"\d{1,5}", re.ASCII)
NO_PORT: Final = "it has no port in `ports`, `expose`, PORT, its health check or its image"
_SHELLS: Final = frozenset({"sh", "bash", "ash", "dash", "zsh", "env", "exec", "tini", "dumb-init", "gosu", "su-exec"})
# Programs of well-known images that are not called like their image, and words by which an image's program serves.
_SERVERS: Final = frozenset(
    {"postgres", "mysqld", "mariadbd", "mysqld_safe", "sqlservr", "httpd-foreground", "apache2-foreground"}
)
_SERVES: Final = frozenset(
    {
        *("server", "serve", "start", "start-dev", "start-single-node", "run", "agent", "standalone", "single-node"),
        *("webserver", "api-server", "web"),
    }
)
_PREPARES: Final = frozenset({"migrate", "migration", "migrations", "init", "bootstrap", "upgrade", "seed", "import"})


class OwnPort(msgspec.Struct, frozen=True):
    """A port. `written`: as in the file, with variables; `source`: where it is from, empty for `ports` and `expose`.

    `follows`: whether `written` stays right when the variables change.
    """

    number: int
    written: str
    source: str = ""
    follows: bool = True


def undeclared_port(service: ComposeService) -> OwnPort | None:
    """Return the port of a service without one in `ports` or `expose`; None when nothing tells it."""
    return _by_variable(service) or _by_check(service.healthcheck) or _by_image(service)


def runs_shared_image_otherwise(service: ComposeService) -> bool:
    """Return whether a service has its own command in an image that others use too.

    EXPOSE and the health check of the image then speak for another program: a worker often shares the image of the
    server.
    """
    return service.built is not None and service.built.is_shared and bool(service.entrypoint or service.command)


def exposed_by(service: ComposeService) -> tuple[int, ...]:
    """Return the ports of EXPOSE that speak for the program of a service."""
    ports = () if service.built is None else service.built.exposed
    if not runs_shared_image_otherwise(service):
        return ports
    named = set(re.findall(r"\d+", " ".join((*service.entrypoint, *service.command)), re.ASCII))
    return tuple(port for port in ports if str(port) in named)


def _by_image(service: ComposeService) -> OwnPort | None:
    built = service.built
    if (service.network_mode or "").startswith(("service:", "container:", "none")):
        return None
    if built is None:
        image = well_known(service.image)
        usual = None if image is None or not _runs_its_own(service, service.image) else image.ports[0]
        return None if usual is None else OwnPort(usual, str(usual), "its image")
    for port in exposed_by(service):
        return OwnPort(port, str(port), f"EXPOSE in {built.dockerfile if built.inline is None else 'its build'}")
    base = well_known(built.base)
    if base is None or built.exposed or not _runs_its_own(service, built.base):
        return None
    return OwnPort(base.ports[0], str(base.ports[0]), f"the image {built.base}, on which its own is built")


def listed(entry: Port, number: int) -> OwnPort:
    """Return one port of an entry of `ports` or `expose`, as it is written there."""
    written = entry.written_target
    if "$" not in (written or entry.raw):
        return OwnPort(number, str(number))
    follows = bool(written) and len(entry.targets) == 1
    return OwnPort(number, written if follows else str(number), "", follows)


def _by_variable(service: ComposeService) -> OwnPort | None:
    given = service.env("PORT")
    value = "" if given is None else (given.value or "").strip()
    if given is None or not _NUMBER.fullmatch(value) or not is_port(int(value)):
        return None
    number = int(value)
    if given.from_env_file or "$" not in (given.raw or "$"):
        return OwnPort(number, str(number), "its variable PORT", "$" not in given.raw)
    return OwnPort(number, given.raw or "${PORT}", "its variable PORT")


def _by_check(check: Healthcheck | None) -> OwnPort | None:
    if check is None or check.disabled or check.port is None or not is_port(check.port):
        return None
    written = check.written_port
    return OwnPort(check.port, written or str(check.port), "its health check", bool(written))


def _runs_its_own(service: ComposeService, image: str | None) -> bool:
    """Return whether a service runs the program of its image: not a client, a job, or something else in it."""
    words = [*service.entrypoint, *service.command]
    if not words or (not service.entrypoint and words[0].startswith("-")):
        return True
    name = image_name(image).rpartition("/")[2]
    stem = name.partition("-")[0]
    stem = stem if len(stem) > 3 else name
    first = words[0].rpartition("/")[2]
    if any(word in _PREPARES for word in words[:3]):
        return False
    if first not in _SHELLS:
        own = first.startswith((stem, name)) or first in _SERVERS or (first in _SERVES and not service.entrypoint)
        return own and first not in CLIENTS
    programs = [word for word in programs_in(" ".join(words[1:])) if word not in CLIENTS]
    return any(
        word in _SERVERS or (word.startswith((stem, name)) and (word.endswith(".sh") or "." not in word))
        for word in programs
    )
