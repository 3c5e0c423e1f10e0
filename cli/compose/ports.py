"""The ports of a compose service, in every form that compose files allow.

Pure. Tells which port the service listens on inside its container, and which port the host publishes for it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from cli.compose.errors import ComposeError, Place
from cli.compose.interpolation import parts
from cli.compose.tree import Mapping, Node, Scalar, is_null, plain
from registry_core.domain.registration import MAX_PORT, Rules, check_port
from registry_core.errors import ValidationError

# The registry decides whether a port below 1024 may be registered.
_ANY_PORT: Final = Rules(min_port=1)
_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})
_RANGE: Final = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?", re.ASCII)


class Port(msgspec.Struct, frozen=True, gc=False):
    """One entry of `ports` or `expose`: a container port or a range of them, and what the host publishes.

    `protocol` is in lower case, as Compose passes it on.

    `published` is empty when the host publishes nothing or Docker picks the port. As many published ports as targets
    map one to one; with more (`3000-3005:80`) Docker takes any of them. An empty `host_ip` is every host address.
    `written_target` and `written_published` are the two as written, with variables not filled in; empty where the
    file does not say which part of the entry they are (`${PORTS}`).
    """

    targets: range
    published: range
    protocol: str
    host_ip: str
    place: Place
    raw: str
    written_target: str = ""
    written_published: str = ""

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Return the (published, target) pairs that are certain."""
        if len(self.published) == len(self.targets):
            yield from zip(self.published, self.targets, strict=True)

    @property
    def key(self) -> tuple[str, range, range, str]:
        """The key by which a merge recognises two entries as the same."""
        return self.host_ip, self.targets, self.published, self.protocol


def port_of(node: Node, *, may_publish: bool = True) -> Port:
    """Return the port in an entry of `ports`, or of `expose` when not `may_publish`. Raises ComposeError."""
    if isinstance(node, Mapping):
        return _long(node)
    text = node.text if isinstance(node, Scalar) and not is_null(node) else str(plain(node))
    return _short(text, node, may_publish=may_publish)


def _short(text: str, node: Node, *, may_publish: bool) -> Port:
    """Read `[[ip:]published:]container[/protocol]`."""
    body, _, protocol = text.strip().partition("/")
    host, _, container = body.rpartition(":")
    host_ip, _, published = host.rpartition(":")
    host_ip = host_ip.removeprefix("[").removesuffix("]")
    shown = _ports(published, node) if may_publish and published else range(0)
    raw = _raw(node)
    pieces = parts(raw.strip(), ":")
    if len(pieces) != text.count(":") + 1:
        pieces = [""]  # a variable holds several of them
    target = parts(pieces[-1], "/")[0]
    shown_as = pieces[-2] if len(pieces) > 1 else ""
    protocol = protocol.lower() or "tcp"
    port = Port(_ports(container, node), shown, protocol, host_ip, node.place, raw, target, shown_as)
    return _checked(port, node)


def _long(entry: Mapping) -> Port:
    """Read `{target: ..., published: ..., protocol: ..., host_ip: ...}`."""
    target = entry.get("target")
    if target is None:
        raise _error("a port in the long form needs a target, and this one has none", entry)
    published = entry.get("published")
    text = "" if published is None else str(plain(published))
    shown = _ports(text, published) if published is not None and text else range(0)
    protocol, host_ip = entry.get("protocol"), entry.get("host_ip")
    port = Port(
        _ports(str(plain(target)), target),
        shown,
        "tcp" if protocol is None else str(plain(protocol)).lower(),
        "" if host_ip is None else str(plain(host_ip)),
        entry.place,
        str(plain(entry)),
        _raw(target),
        "" if published is None else _raw(published),
    )
    return _checked(port, entry)


def _checked(port: Port, node: Node) -> Port:
    """Return the port. Raises ComposeError where Compose refuses it although its numbers are ports."""
    written = repr(port.raw[:60])
    # Compose leaves the long form's protocol to Docker.
    if port.protocol not in _PROTOCOLS and not isinstance(node, Mapping):
        raise _error(f"{written} has the protocol {port.protocol!r}, which is not tcp, udp or sctp", node)
    if len(port.targets) > 1 and port.published and len(port.published) != len(port.targets):
        raise _error(f"{written} publishes {len(port.published)} ports for {len(port.targets)}", node)
    try:
        if port.host_ip:
            ipaddress.ip_address(port.host_ip)
    except ValueError:
        raise _error(f"{written} has the host address {port.host_ip!r}, which is not an IP address", node) from None
    return port


def _ports(text: str, entry: Node) -> range:
    match = _RANGE.fullmatch(text.strip())
    written = _raw(entry)[:60]
    if match is None:
        blank = isinstance(entry, Scalar) and entry.unset
        raise _error(f"{written!r} is {'a variable without a default' if blank else 'not a port'}", entry)
    first, last = int(match[1]), int(match[2] or match[1])
    for number in (first, last):
        try:
            check_port(number, _ANY_PORT)
        except ValidationError as error:
            raise _error(f"{error.message}, and {written!r} is not", entry) from None
    if last < first:
        raise _error(f"{written!r} is a range that ends before it starts", entry)
    return range(first, last + 1)


def _raw(node: Node) -> str:
    return node.raw if isinstance(node, Scalar) and not node.null else str(plain(node))


def _error(reason: str, node: Node) -> ComposeError:
    return ComposeError(reason, code="port", place=node.place, field="ports", example="8000:8034")


def is_port(number: int) -> bool:
    """Return whether the number is a valid port."""
    return 1 <= number <= MAX_PORT
