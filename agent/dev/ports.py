"""The ports of a compose service, in all the forms in which compose files write them.

Pure. Says which port the service listens on inside its container, and which the host shows instead.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from registry_core.domain.registration import Rules, check_port
from registry_core.errors import ValidationError

# Whether a port below 1024 may be registered is the registry's matter; `vertice dev` lets it.
_ANY_PORT: Final = Rules(min_port=1)
# `${PORT:-8000}` and `${PORT-8000}`: what Compose puts there when the variable is not set.
_DEFAULT: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*:?-([^{}$]*)\}", re.ASCII)
_RANGE: Final = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?", re.ASCII)


class PortsOf(msgspec.Struct, frozen=True):
    """The TCP ports of one service, in order, and what could not be read."""

    container: tuple[int, ...] = ()
    # As `ip:port`, the ip empty for every address of the host: two services cannot have the same.
    published: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def main(self) -> int | None:
        """The port that the service is registered with: the first of its container's ports.

        The other services of a compose network reach the container's port, never the published one.
        Of several the first is the service itself by all custom; metrics and consoles come after it.
        """
        return self.container[0] if self.container else None


class _Port(msgspec.Struct, frozen=True):
    container: range
    published: range
    host_ip: str

    @property
    def shown(self) -> list[str]:
        # `3000-3005:80` takes any one of six: which, nobody knows beforehand.
        return [f"{self.host_ip}:{p}" for p in self.published] if len(self.published) == len(self.container) else []


def ports_of(service: dict[str, Any]) -> PortsOf:
    """Return the ports of a compose service: those of `ports`, else those of `expose`."""
    listed, of_ports = _as_list(service.get("ports")), True
    if not listed:
        listed, of_ports = _as_list(service.get("expose")), False
    container: list[int] = []
    published: list[str] = []
    problems: list[str] = []
    for entry in listed:
        try:
            port = _long(entry) if isinstance(entry, dict) else _short(str(entry), may_publish=of_ports)
        except ValidationError as error:
            problems.append(error.message)
            continue
        if port is not None:
            container += port.container
            published += port.shown
    return PortsOf(tuple(dict.fromkeys(container)), tuple(dict.fromkeys(published)), tuple(problems))


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _short(entry: str, *, may_publish: bool) -> _Port | None:
    """Read `[[ip:]published:]container[/protocol]`; None when it is not a TCP port."""
    text, _, protocol = _DEFAULT.sub(r"\1", entry.strip()).partition("/")
    if protocol not in ("", "tcp"):
        return None
    host, _, container = text.rpartition(":")
    host_ip, _, published = host.rpartition(":")
    shown = _ports(published, entry) if may_publish and published else range(0)
    return _Port(_ports(container, entry), shown, host_ip)


def _long(entry: dict[str, Any]) -> _Port | None:
    """Read `{target: ..., published: ..., protocol: ...}`; None when it is not a TCP port."""
    if str(entry.get("protocol") or "tcp") != "tcp":
        return None
    if entry.get("target") is None:
        raise ValidationError("a port in the long form says its target, and this one does not")
    target, published = str(entry["target"]), str(entry.get("published") or "")
    shown = _ports(published, published) if published else range(0)
    return _Port(_ports(target, target), shown, str(entry.get("host_ip") or ""))


def _ports(text: str, entry: str) -> range:
    text = _DEFAULT.sub(r"\1", text.strip())
    match = _RANGE.fullmatch(text)
    if match is None:
        reason = "a variable without a default" if "$" in text else "no port"
        raise ValidationError(f"{entry[:60]!r} is {reason}")
    first, last = int(match[1]), int(match[2] or match[1])
    for number in (first, last):
        try:
            check_port(number, _ANY_PORT)
        except ValidationError as error:
            raise ValidationError(f"{error.message}, and {entry[:60]!r} is not") from None
    if last < first:
        raise ValidationError(f"{entry[:60]!r} is a range that ends before it begins")
    return range(first, last + 1)
