"""Reads the options of `vertice compose inject`: image, limits, registries, resolvers, address and zone of the agents.

Pure. Each reader returns the text that goes into the file, and raises ValueError with the reason. Variables stay as
they are written; what they amount to with their defaults alone is checked, where that is anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from agent.registries.addresses import read_source, source_text
from agent.settings.table import DNS_ZONE
from cli.compose.interpolation import BadVariable, fill
from dns.forward_rules import System, read_rules
from registry_core.domain.names import ip_address
from registry_core.upstreams.choice import RegistryAddress

# The grammar of github.com/distribution/reference, which Docker and podman share.
_HOST: Final = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])"
)
_PATH: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG: Final = r"\w[\w.-]{0,127}"
_DIGEST: Final = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}"
_IMAGE: Final = re.compile(rf"(?:{_HOST}(?::\d{{1,5}})?/)?{_PATH}(?:/{_PATH})*(?::{_TAG})?(?:@{_DIGEST})?", re.ASCII)
_MAX_IMAGE: Final = 512
# RAMInBytes of github.com/docker/go-units, which Compose reads memory with.
_MEMORY: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([kmgtp]?)i?b?", re.ASCII | re.IGNORECASE)
_UNITS: Final = "kmgtp"
# Docker refuses less for any container.
_MIN_MEMORY: Final = 6 * 1024 * 1024
_MAX_MEMORY: Final = 1024**5
# What the agent's libraries take is near; what it holds of 10,000 instances is within.
ENOUGH_MEMORY: Final = 64 * 1024 * 1024
_CPUS: Final = re.compile(r"(?:\d{1,4}(?:\.\d{0,9})?|\.\d{1,9})", re.ASCII)
# Docker's own least.
_MIN_CPUS: Final = 0.01


def with_variables(read: Callable[[str], str]) -> Callable[[str], str]:
    """Return a reader that also accepts text with variables, and returns it as written."""

    def read_text(value: str) -> str:
        if "$" not in value:
            return read(value)
        filled = defaults_of(value)
        if filled is not None:
            read(filled)
        return value.strip()

    return read_text


def defaults_of(value: str) -> str | None:
    """Return a text with the defaults of its variables, None when one has none. Raises ValueError for bad syntax."""
    try:
        filled = fill(value, {})
    except BadVariable as error:
        if error.required:
            return None
        raise
    return None if filled.unset or not filled.text.strip() else filled.text


def image(value: str) -> str:
    """Read the reference of an image."""
    name = value.strip()
    if not name:
        raise ValueError("it is empty")
    if len(name) > _MAX_IMAGE or not _IMAGE.fullmatch(name):
        raise ValueError("it is not an image, such as [registry/]name[:tag], whose name is in lower case")
    return name


def memory(value: str) -> str:
    """Read a memory limit in Docker's units."""
    amount = value.strip()
    size = bytes_of(amount)
    if size is None:
        raise ValueError("it is not an amount of memory")
    if not _MIN_MEMORY <= size <= _MAX_MEMORY:
        raise ValueError("Docker accepts no limit below 6M" if size < _MIN_MEMORY else "no machine has that much")
    return amount


def bytes_of(amount: str) -> int | None:
    """Return how many bytes an amount in Docker's units is, None when it is not one."""
    match = _MEMORY.fullmatch(amount)
    if match is None:
        return None
    return int(float(match[1]) * 1024 ** (_UNITS.index(match[2].lower()) + 1 if match[2] else 0))


def cpus(value: str) -> str:
    """Read a limit on processors: how many, or the share of one."""
    number = value.strip()
    if not _CPUS.fullmatch(number):
        raise ValueError("it is not a number of processors")
    if float(number) < _MIN_CPUS:
        raise ValueError(f"it must be at least {_MIN_CPUS:g}")
    return number


def registries(value: str) -> str:
    """Read the registries, one or several, as the agent's REGISTRY_URL does."""
    urls = [source_text(part) for part in value.split(",") if part.strip()]
    if not urls:
        raise ValueError("it names no registry")
    return ",".join(urls)


def hosts_of(urls: str) -> list[tuple[str, str]]:
    """Return the URLs of a list of registries, each with its host. A name of SRV records has none."""
    filled = defaults_of(urls) if "$" in urls else urls
    sources = [read_source(part) for part in (filled or "").split(",") if part.strip()]
    found = [source.url for source in sources if isinstance(source, RegistryAddress)]
    return [(url, urlsplit(url).hostname or "") for url in found]


def resolvers(value: str) -> str:
    """Read the resolvers for other names, as the agent's AGENT_DNS_FORWARD does."""
    if not value.strip():
        raise ValueError("it names no resolver")
    read_rules(value)
    return value.strip()


def asks_itself(forward: str) -> bool:
    """Return whether these resolvers lead an agent in the network namespace of a service back to itself.

    The only resolver on loopback there, and the one that resolv.conf names, is Docker's 127.0.0.11, which asks the
    agent.
    """
    filled = defaults_of(forward)
    rules = read_rules(filled).rules if filled is not None else ()
    targets = [rule.target for rule in rules]
    servers = [server.host for target in targets if isinstance(target, tuple) for server in target]
    return any(isinstance(target, System) for target in targets) or any(
        address.is_loopback for address in map(ip_address, servers) if address is not None
    )


def host_address(value: str) -> str:
    """Read the address at which containers and other machines reach this host."""
    address = ip_address(value.strip().strip("[]"))
    if address is None:
        raise ValueError("it is not an IP address, and Docker's `dns` takes no other")
    if address.is_loopback:
        raise ValueError("containers reach themselves there")
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        raise ValueError("it is not an address at which others reach this host")
    return str(address)


def zone(value: str) -> str:
    """Read a DNS zone, as the agent's AGENT_DNS_ZONE does."""
    return DNS_ZONE.read(value)
