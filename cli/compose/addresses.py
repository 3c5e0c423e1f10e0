"""Finds the addresses in a service's environment, and plainly written ones in its command.

Pure. It reads only host and port: user names and passwords in URLs are neither kept nor shown. It does not
judge whether an address leads anywhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from cli.compose.errors import Place
from cli.compose.model import ComposeService, EnvEntry

MAX_VALUE_LENGTH: Final = 4096
_HOST: Final = r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*)"
_SCHEME: Final = r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:[^\s/@,]*@)?"
# It starts at a word's start only, so that a long word is read once. `u:1@host` is a password, no address.
_START: Final = r"(?<![\w.$}/-])"
# Not re.ASCII: to it, `ö` would be no letter, and a word would start after it.
_WITH_PORT: Final = re.compile(rf"{_START}(?:{_SCHEME})?{_HOST}:(?P<port>[0-9]{{1,12}})(?![\w.:@])")
_URL: Final = re.compile(rf"{_START}{_SCHEME}{_HOST}(?![\w.:@-])")
_BARE: Final = re.compile(_HOST, re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,12}", re.ASCII)
_PERHAPS_IPV6: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]|(?<![\w.:])[0-9A-Fa-f:.]+(?![\w.:])", re.ASCII)

# What a variable's name says about its value: one host, or several.
_ONE_HOST: Final = ("HOST", "HOSTNAME", "ADDR", "ADDRESS", "ENDPOINT", "SERVER", "URL", "URI", "BROKER")
_MANY_HOSTS: Final = (
    "HOSTS",
    "ADDRS",
    "ADDRESSES",
    "ENDPOINTS",
    "SERVERS",
    "URLS",
    "NODES",
    "BROKERS",
    "SEEDS",
    "PEERS",
    "DSN",
)
_SAYS_ADDRESS: Final = frozenset(_ONE_HOST + _MANY_HOSTS)
_SAYS_HOST: Final = frozenset({"HOST", "HOSTNAME", "ADDR", "ADDRESS", "SERVER", "HOSTS", "NODES", "SEEDS", "PEERS"})
# Names of the container's own listening address or name: they are not addresses of others.
_OWN: Final = frozenset(
    {"HOST", "HOSTNAME", "BIND_HOST", "BIND_ADDR", "BIND_ADDRESS", "LISTEN_HOST", "LISTEN_ADDR", "LISTEN_ADDRESS"}
    | {"SERVICE_HOST", "APP_HOST", "SERVER_HOST", "UVICORN_HOST", "FLASK_RUN_HOST", "ADVERTISED_HOST"}
)
_ANY_ADDRESS: Final = frozenset({"0.0.0.0"})  # noqa: S104 - compared, not bound

DEFAULT_PORTS: Final = {
    "http": 80,
    "ws": 80,
    "https": 443,
    "wss": 443,
    "redis": 6379,
    "rediss": 6379,
    "postgres": 5432,
    "postgresql": 5432,
    "mysql": 3306,
    "mariadb": 3306,
    "amqp": 5672,
    "amqps": 5671,
    "mongodb": 27017,
    "nats": 4222,
    "bolt": 7687,
    "neo4j": 7687,
    "mqtt": 1883,
    "ldap": 389,
    "kafka": 9092,
}
_NO_HOSTS: Final = frozenset({"unix", "file", "sqlite", "arn", "urn", "data"})


class HardCodedAddress(msgspec.Struct, frozen=True):
    """A hard-coded host, usually with a port.

    `variable` is its source: a variable's name, or `command`. `port` None: no port is given, and the scheme has
    no default. `port_variable` is the variable that holds the port, when it is a different one.
    """

    variable: str
    place: Place
    host: str
    port: int | None
    scheme: str = ""
    port_written: bool = True
    port_variable: str | None = None
    port_place: Place | None = None

    @property
    def written(self) -> str:
        """The address as written, without the text around it."""
        scheme = f"{self.scheme}://" if self.scheme else ""
        port = f":{self.port}" if self.port is not None and (self.port_written or self.port_variable) else ""
        return f"{scheme}{self.host}{port}"

    @property
    def is_http(self) -> bool:
        """Whether it is called over HTTP."""
        return self.scheme in ("http", "https", "ws", "wss")


class Located(NamedTuple):
    """An address and its position in a text, from its host to the end of its port."""

    start: int
    end: int
    address: HardCodedAddress


def addresses_of(service: ComposeService, is_known: Callable[[str], bool]) -> list[HardCodedAddress]:
    """Return a service's addresses in order. `is_known`: whether any service has that name."""
    variables = {entry.name: entry for entry in service.environment}
    found: list[HardCodedAddress] = []
    for entry in service.environment:
        if entry.value:
            found += _in_variable(entry, variables, is_known)
    for key, words in (("entrypoint", service.entrypoint), ("command", service.command)):
        place = service.places.get(key, service.place)
        for word in words:
            found += (a for a in with_port_or_scheme(word, key, place) if a.scheme or is_known(a.host))
    return list(dict.fromkeys(found))


def with_port_or_scheme(text: str, variable: str, place: Place) -> Iterator[HardCodedAddress]:
    """Return the URLs and `host:port` pairs in a text, each host of a list separately."""
    return (located.address for located in located_in(text, variable, place))


def located_in(text: str, variable: str, place: Place) -> Iterator[Located]:
    """Return the same, with the position of each in the text."""
    text = _PERHAPS_IPV6.sub(_blanked, text[:MAX_VALUE_LENGTH])
    matches = [(m.start(), m) for m in _WITH_PORT.finditer(text)]
    taken = {start for start, _ in matches}
    matches += [(m.start(), m) for m in _URL.finditer(text) if m.start() not in taken]
    scheme = ""
    for _, match in sorted(matches, key=lambda pair: pair[0]):
        own = (match["scheme"] or "").lower().rpartition(":")[2].partition("+")[0]
        # `nats://a:4222,b:4222`: the parts after a comma are of the same kind.
        scheme = own or (scheme if text[match.start() - 1 : match.start()] == "," else "")
        if scheme in _NO_HOSTS or match["host"] in _ANY_ADDRESS:
            continue
        port = match.groupdict().get("port")
        number = int(port) if port else DEFAULT_PORTS.get(scheme)
        address = HardCodedAddress(variable, place, match["host"], number, scheme, bool(port))
        yield Located(match.start("host"), match.end(), address)


def _blanked(word: re.Match[str]) -> str:
    """Return blanks for an IPv6 address, as the end of one reads like `host:port`, and the word itself otherwise."""
    try:
        ipaddress.IPv6Address(word[0].removeprefix("[").removesuffix("]"))
    except ValueError:
        return word[0]
    return " " * len(word[0])


def _in_variable(
    entry: EnvEntry, variables: dict[str, EnvEntry], is_known: Callable[[str], bool]
) -> Iterator[HardCodedAddress]:
    name, value = entry.name.upper(), (entry.value or "").strip()
    if name in _OWN or value in _ANY_ADDRESS:
        return
    said = name.rpartition("_")[2] in _SAYS_ADDRESS
    found = False
    for address in with_port_or_scheme(value, entry.name, entry.place):
        found = True
        if address.scheme or is_known(address.host) or (said and not address.host.isdigit()):
            yield address
    if found:
        return
    last = name.rpartition("_")[2]
    if last in _SAYS_HOST:
        hosts = re.split(r"[,;\s]+", value) if last in _MANY_HOSTS else [value]
        for host in hosts:
            if _BARE.fullmatch(host) and not host.isdigit():
                yield _host_and_port(entry, host, variables)
    elif said and is_known(value):
        yield HardCodedAddress(entry.name, entry.place, value, None, port_written=False)


def _host_and_port(entry: EnvEntry, host: str, variables: dict[str, EnvEntry]) -> HardCodedAddress:
    """Return the address of `X_HOST` with the port of `X_PORT`, if there is such a variable."""
    stem = entry.name[: len(entry.name) - len(entry.name.rpartition("_")[2])]
    for name in (f"{stem}PORT", f"{stem}port"):
        port = variables.get(name)
        if stem and port is not None and _NUMBER.fullmatch((port.value or "").strip()):
            number = int((port.value or "").strip())
            return HardCodedAddress(
                entry.name, entry.place, host, number, port_written=False, port_variable=name, port_place=port.place
            )
    return HardCodedAddress(entry.name, entry.place, host, None, port_written=False)


def hosts_and_ports(environment: Iterable[EnvEntry]) -> Iterator[HardCodedAddress]:
    """Return everything in an environment written as a URL or host:port, whether or not it is meant as an address."""
    for entry in environment:
        yield from with_port_or_scheme(entry.value or "", entry.name, entry.place)
