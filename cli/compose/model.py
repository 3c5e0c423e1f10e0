"""The model of a fleet, independent of how its compose file is written. Frozen values only."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cli.compose.errors import ComposeError, Place
from cli.compose.ports import Port

DEFAULT_NETWORK = "default"
MAX_REPLICA_DIGITS = 6


class EnvEntry(msgspec.Struct, frozen=True, gc=False):
    """A variable of a service, and its place in the compose file or in one of its env files.

    `value` None: a bare name that the caller's environment lacks. `raw` is the value as written, with
    variables not filled in. `unset`: the variables in it that have no value.
    """

    name: str
    value: str | None
    raw: str
    place: Place
    from_env_file: bool = False
    unset: tuple[str, ...] = ()


class Healthcheck(msgspec.Struct, frozen=True):
    """A container's health check. `url`, `path` and `port` are what it requests of the container itself, if known.

    `written_path` and `written_port` are those two as written, with variables not filled in; empty where the text does
    not tell them apart. `other`: the check asks this host, and therefore tells nothing about the container itself.
    """

    words: tuple[str, ...]
    shell: bool
    disabled: bool
    place: Place
    url: str | None = None
    path: str | None = None
    port: int | None = None
    problem: str | None = None
    written_path: str = ""
    written_port: str = ""
    other: str | None = None

    @property
    def text(self) -> str:
        """The command as one line."""
        return " ".join(self.words)


class Dependency(msgspec.Struct, frozen=True, gc=False):
    """A service that must be started first."""

    name: str
    condition: str
    required: bool
    place: Place


class Attachment(msgspec.Struct, frozen=True, gc=False):
    """A network that a service is in, with its aliases and static addresses there.

    `named`: its service name resolves there, which `use_service_name_alias: false` prevents.
    """

    network: str
    aliases: tuple[str, ...]
    place: Place
    addresses: tuple[str, ...] = ()
    named: bool = True


class EnvFile(msgspec.Struct, frozen=True):
    """A file of variables, or of labels, that `key` names, by the path to open. `format` is empty for Compose's own."""

    path: str
    required: bool
    place: Place
    format: str = ""
    key: str = "env_file"


class Build(msgspec.Struct, frozen=True):
    """How an image is built here. `dockerfile`: the path to open, unless `inline` is its text.

    `exposed` and `base` are what the Dockerfile says: the TCP ports, and the image that it builds on. `check_port` is
    the port that its health check asks over HTTP, `mentioned` are those of which its command and variables speak.
    `is_partial`: it exposes more than `exposed`. `is_shared`: another service is built in the same way.
    """

    dockerfile: str
    inline: str | None = None
    target: str | None = None
    args: dict[str, str | None] = {}
    exposed: tuple[int, ...] = ()
    base: str | None = None
    check_port: int | None = None
    mentioned: tuple[int, ...] = ()
    is_partial: bool = False
    is_shared: bool = False

    @property
    def identity(self) -> tuple[str, str | None]:
        """What two builds of the same image have in common."""
        return self.inline or self.dockerfile, self.target


class Label(msgspec.Struct, frozen=True):
    """A label's value and its place."""

    value: str
    place: Place


class ComposeService(msgspec.Struct, frozen=True):
    """One service. `place` is the place of its name, `places` those of its keys.

    `networks` is empty only with a `network_mode`. `empty`: the file has no description of it. `restart` and `mode`
    are the policies under which its containers end, or run again. `written_name` is `container_name`, and
    `written_profiles` are the profiles, with variables not filled in.
    """

    name: str
    place: Place
    places: dict[str, Place]
    container_name: str | None = None
    hostname: str | None = None
    domainname: str | None = None
    image: str | None = None
    build: str | None = None
    network_mode: str | None = None
    networks: tuple[Attachment, ...] = ()
    ports: tuple[Port, ...] = ()
    expose: tuple[Port, ...] = ()
    environment: tuple[EnvEntry, ...] = ()
    env_files: tuple[EnvFile, ...] = ()
    healthcheck: Healthcheck | None = None
    depends_on: tuple[Dependency, ...] = ()
    links: tuple[str, ...] = ()
    external_links: tuple[str, ...] = ()
    # Names and their addresses.
    extra_hosts: tuple[tuple[str, str], ...] = ()
    profiles: tuple[str, ...] = ()
    # As written: it may not be a number.
    replicas: str | None = None
    labels: dict[str, Label] = {}
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    restart: str | None = None
    mode: str | None = None
    built: Build | None = None
    written_name: str = ""
    written_profiles: tuple[str, ...] = ()
    # The name under which its agent registers it, where that is another one.
    registered_as: str | None = None
    empty: bool = False

    @property
    def network_names(self) -> frozenset[str]:
        """The names of its networks."""
        return frozenset(a.network for a in self.networks)

    @property
    def replica_count(self) -> int:
        """How many containers it asks for: 1 when it does not say, or says no number."""
        given = self.replicas or "1"
        return int(given) if given.isascii() and given.isdigit() and len(given) <= MAX_REPLICA_DIGITS else 1

    def tcp_ports(self) -> Iterator[Port]:
        """Return its TCP entries of `ports`, then of `expose`."""
        return (port for port in (*self.ports, *self.expose) if port.protocol == "tcp")

    def env(self, name: str) -> EnvEntry | None:
        """Return one of its variables."""
        return next((e for e in self.environment if e.name == name), None)


class Network(msgspec.Struct, frozen=True):
    """A network of the project. `external`: it may contain services unknown to the file.

    `called` is the name by which Docker knows it, empty for the one that Compose makes of project and key.
    """

    name: str
    external: bool
    place: Place
    called: str = ""


class Project(msgspec.Struct, frozen=True):
    """A fleet as its files describe it, and the faults of their parts. `name` is what Compose calls the project."""

    name: str
    files: tuple[str, ...]
    services: dict[str, ComposeService]
    networks: dict[str, Network]
    problems: tuple[ComposeError, ...] = ()

    def checked(self) -> Project:
        """Return the project itself if it has no faults. Raises ComposeError, the first fault."""
        for problem in self.problems:
            raise problem
        return self
