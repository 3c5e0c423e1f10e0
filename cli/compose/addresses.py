"""Finds the addresses in a service's environment and in its command.

Pure. A variable's name helps to tell what its value is. It does not judge whether an address leads anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from cli.compose.address_syntax import ANY_ADDRESS, MAX_VALUE_LENGTH, HardCodedAddress, with_port_or_scheme
from cli.compose.model import ComposeService, EnvEntry
from cli.compose.variable_names import identity_of, words_of

_BARE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,12}", re.ASCII)
_FLAG: Final = re.compile(r"--?([A-Za-z][\w.-]{0,80})(=)?")

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
# Of these, the value is often something else: an e-mail address, a wallet, a kind of server, a yes or no.
_SAYS_LITTLE: Final = frozenset({"ADDR", "ADDRESS", "SERVER", "NODES", "SEEDS", "PEERS"})
# Endings of names in one word, such as PGHOST and MONGOHOST.
_GLUED: Final = re.compile(r"[A-Z]{2,}?(HOST|HOSTNAME|SERVER|ADDR|URL)")
# Names of the container's own listening address or name: they are not addresses of others.
_OWN: Final = frozenset(
    {"HOST", "HOSTNAME", "BIND_HOST", "BIND_ADDR", "BIND_ADDRESS", "LISTEN_HOST", "LISTEN_ADDR", "LISTEN_ADDRESS"}
    | {"SERVICE_HOST", "APP_HOST", "SERVER_HOST", "UVICORN_HOST", "FLASK_RUN_HOST", "ADVERTISED_HOST"}
)
# Values that say yes, no or nothing.
_NO_HOSTS: Final = frozenset(
    [
        *("true", "false", "yes", "no", "on", "off", "enabled", "disabled", "enable", "disable", "y", "n", "t", "f"),
        *("null", "nil", "none", "undefined", "unset", "empty", "default", "auto", "any", "all", "self", "local"),
        *("nan", "na", "todo", "changeme", "change-me", "change_me", "example", "placeholder", "internal", "external"),
    ]
)


def addresses_of(service: ComposeService, is_known: Callable[[str], bool]) -> list[HardCodedAddress]:
    """Return a service's addresses in order. `is_known`: whether any service has that name."""
    variables = {entry.name: entry for entry in service.environment}
    found: list[HardCodedAddress] = []
    for entry in service.environment:
        if entry.value:
            found += _in_variable(entry, variables, is_known)
    for key, words in (("entrypoint", service.entrypoint), ("command", service.command)):
        place = service.places.get(key, service.place)
        flag = ""
        for word in words:
            option = _FLAG.match(word)
            if option is not None:
                flag = option[1]
            for address in with_port_or_scheme(word, key, place):
                if is_known(address.host) or (address.scheme and _is_looked_up(address, is_known)):
                    found.append(msgspec.structs.replace(address, label=address.label or flag))
            if option is None or option[2]:
                flag = ""
    return list(dict.fromkeys(found))


def _in_variable(
    entry: EnvEntry, variables: dict[str, EnvEntry], is_known: Callable[[str], bool]
) -> Iterator[HardCodedAddress]:
    name, value = entry.name.upper(), (entry.value or "")[: MAX_VALUE_LENGTH + 1].strip()
    if name in _OWN or value in ANY_ADDRESS:
        return
    last = (words_of(entry.name) or ("",))[-1]
    glued = _GLUED.fullmatch(last)
    says_address = last in _SAYS_ADDRESS
    found = list(with_port_or_scheme(value, entry.name, entry.place))
    for address in found:
        if address.scheme and not _is_looked_up(address, is_known):
            continue
        if address.scheme or is_known(address.host) or (says_address and not address.host.isdigit()):
            yield _with_port_beside(entry, address, last, variables) if len(found) == 1 else address
    if found:
        return
    if last in _SAYS_HOST:
        for host in re.split(r"[,;\s]+", value) if last in _MANY_HOSTS else [value]:
            if _BARE.fullmatch(host) and not host.isdigit() and (is_known(host) or host.lower() not in _NO_HOSTS):
                address = _host_and_port(entry, host, last, variables)
                if is_known(host) or last not in _SAYS_LITTLE or address.port is not None or "." in host:
                    yield address
    elif glued is not None and is_known(value):
        yield _host_and_port(entry, value, glued[1], variables)
    elif says_address and is_known(value):
        yield HardCodedAddress(entry.name, entry.place, value, None, port_written=False)


def _is_looked_up(address: HardCodedAddress, is_known: Callable[[str], bool]) -> bool:
    """Return whether what follows an address's scheme is a host: `orders://x` may be anything."""
    host = address.host
    return address.has_known_scheme or address.port_written or is_known(host) or host.lower() == "localhost"


def _with_port_beside(
    entry: EnvEntry, address: HardCodedAddress, last: str, variables: dict[str, EnvEntry]
) -> HardCodedAddress:
    """Return the address of `X_URL=http://host` with the port of `X_PORT`, if there is such a variable."""
    if not address.scheme or address.is_complete or last not in _ONE_HOST:
        return address
    port = _port_beside(entry, last, variables)
    if port is None:
        return address
    return msgspec.structs.replace(
        address, port=int((port.value or "").strip()), port_variable=port.name, port_place=port.place
    )


def _host_and_port(entry: EnvEntry, host: str, last: str, variables: dict[str, EnvEntry]) -> HardCodedAddress:
    """Return the address of `X_HOST` with the port of `X_PORT`, if there is such a variable."""
    port = _port_beside(entry, last, variables)
    if port is None:
        return HardCodedAddress(entry.name, entry.place, host, None, port_written=False)
    number = int((port.value or "").strip())
    return HardCodedAddress(
        entry.name, entry.place, host, number, port_written=False, port_variable=port.name, port_place=port.place
    )


def _port_beside(entry: EnvEntry, last: str, variables: dict[str, EnvEntry]) -> EnvEntry | None:
    """Return the variable that has a number and the same name, with PORT for the last word."""
    stem = entry.name[: len(entry.name) - len(last)]
    for ending in ("PORT", "port", "Port") if stem else ():
        port = variables.get(stem + ending)
        if port is not None and _NUMBER.fullmatch((port.value or "").strip()):
            return port
    return None


def identity_of_address(address: HardCodedAddress) -> str:
    """Return why an address is an identity and no lookup, judging by its variable, option or name, or nothing."""
    return identity_of(address.label) or identity_of(address.variable)


def hosts_and_ports(environment: Iterable[EnvEntry]) -> Iterator[HardCodedAddress]:
    """Return everything in an environment written as a URL or host:port, whether or not it is meant as an address."""
    for entry in environment:
        yield from with_port_or_scheme(entry.value or "", entry.name, entry.place)
