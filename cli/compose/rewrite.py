"""Replaces hard-coded addresses by discovered names where that is safe, and gives the reason where it is not.

Pure: text in, text out. A name resolves to an address only, and a client needs the port too. The new value is therefore
`http://<service>.<zone>:<port>`, with the one port under which the service is registered. That is safe when the service
has an agent and no other port, and the client's resolver knows the zone.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import msgspec

from cli.compose.addresses import HardCodedAddress, located_in
from cli.compose.audit import Audit, audit
from cli.compose.databases import is_database
from cli.compose.errors import Place
from cli.compose.existing_agents import ExistingAgents
from cli.compose.fleet_names import Meant
from cli.compose.model import ComposeService, EnvEntry, Project
from cli.compose.outline import BREAK, NotEditable, Outline, Shape, Spot, outline_of
from cli.compose.ports import is_port
from cli.compose.registered_names import RegisteredNames
from cli.compose.sidecars import LABEL
from cli.compose.splice import Edit, applied
from cli.compose.verdicts import Judged
from cli.terminal import printable
from registry_core.domain.host_port import host_port, split_host_port
from registry_core.domain.names import label_of

MAX_NAME_LENGTH: Final = 253  # of a whole name in DNS (RFC 1035 section 2.3.4)
_OPEN_SCHEMES: Final = frozenset({"http", "ws", "grpc", "tcp"})
_TLS_SCHEMES: Final = frozenset({"https", "wss", "grpcs", "tls", "ssl", "amqps", "rediss"})
_CALLABLE: Final = frozenset({Meant.SERVICE, Meant.OTHER_SPELLING})
_WHY_NOT: Final[Mapping[Meant, str]] = {
    Meant.SERVICE: "it does not mean a service of the file",
    Meant.OTHER_SPELLING: "it does not mean a service of the file",
    Meant.NOT_SHARED: "the two share no network, so that a name would lead nowhere",
    Meant.ITSELF: "localhost is the container itself",
    Meant.HOST: "it is on the host",
    Meant.OUTSIDE: "it is outside the file",
    Meant.UNKNOWN: "no service of the file has that name",
}


class AddressChange(msgspec.Struct, frozen=True):
    """An address that is replaced by a discovered name. `why`: what else about it changes."""

    place: Place
    service: str
    variable: str
    before: str
    after: str
    why: str = ""

    def __str__(self) -> str:
        because = f" ({self.why})" if self.why else ""
        return printable(f"{self.service}: {self.variable}: {self.before} -> {self.after}{because}")


class UnchangedAddress(msgspec.Struct, frozen=True):
    """An address that stays unchanged, and why. `offered`: the value that would be right."""

    place: Place
    service: str
    variable: str
    address: str
    reason: str
    offered: str = ""

    def __str__(self) -> str:
        offer = f"; {self.offered} would be right" if self.offered else ""
        where = f" ({self.place})" if self.place.line else ""
        return printable(f"{self.service}: {self.variable}: {self.address}: {self.reason}{offer}{where}")


# A variable's place and name.
_Key: TypeAlias = tuple[Place, str]


class Rewriting(msgspec.Struct, frozen=True):
    """The new text, the addresses that changed, and those that did not."""

    text: str
    changes: tuple[AddressChange, ...] = ()
    unchanged: tuple[UnchangedAddress, ...] = ()


class _Refused(Exception):
    """Raised when an address must stay unchanged."""

    def __init__(self, reason: str, offered: str = "") -> None:
        super().__init__(reason)
        self.offered = offered


class _Piece(msgspec.Struct, frozen=True):
    """A part of a variable's value, and its replacement."""

    start: int
    end: int
    new: str
    change: AddressChange
    # The variable that must change together with this one.
    beside: _Key | None = None


def rewritten(text: str, project: Project, agents: ExistingAgents, zone: str) -> Rewriting:
    """Return a compose file's text with discovered names; `project` is the parsed text.

    Raises NotEditable, and ComposeError when the audit refuses the project.
    """
    outline = outline_of(text)
    fleet = _Fleet(audit(project), agents, zone)
    spots = _spots(outline)
    unchanged: list[UnchangedAddress] = []
    found: dict[_Key, dict[str, list[_Piece]]] = {}
    users: dict[_Key, set[str]] = {}
    for service in project.services.values():
        if LABEL in service.labels:
            continue
        pieces = list(fleet.pieces_of(service, unchanged))
        for entry in service.environment:
            users.setdefault((entry.place, entry.name), set()).add(service.name)
        for entry, piece in pieces:
            found.setdefault((entry.place, entry.name), {}).setdefault(service.name, []).append(piece)
    edits: list[Edit] = []
    changes: list[AddressChange] = []
    reasons = {
        key: _why_not(key, by_service, users[key], spots, text=text, file=project.files[0])
        for key, by_service in found.items()
    }
    _together(found, reasons)
    for key, by_service in found.items():
        reason = reasons[key]
        first = next(iter(by_service.values()))
        if reason:
            unchanged += (
                UnchangedAddress(c.place, c.service, c.variable, c.before, reason)
                for pieces in by_service.values()
                for c in (piece.change for piece in pieces)
            )
            continue
        at = _at(text, spots[key[0].line, key[1]][0], key[1])
        edits += (Edit(at + piece.start, at + piece.end, piece.new) for piece in first if at is not None)
        changes += (piece.change for pieces in by_service.values() for piece in pieces)
    after = applied(text, edits)
    _check(outline, after, edits)
    # An address that occurs twice in one value counts once.
    return Rewriting(
        after,
        tuple(sorted(dict.fromkeys(changes), key=_order)),
        tuple(sorted(dict.fromkeys(unchanged), key=_order)),
    )


def _together(found: Mapping[_Key, Mapping[str, list[_Piece]]], reasons: dict[_Key, str]) -> None:
    """Refuse each half of a pair whose other half is refused, until nothing changes any more."""
    halves = [
        (key, piece.beside)
        for key, by_service in found.items()
        for pieces in by_service.values()
        for piece in pieces
        if piece.beside is not None
    ]
    more = True
    while more:
        more = False
        for key, other in halves:
            if reasons[other] and not reasons[key]:
                reasons[key] = f"{other[1]} would have to change too, and there {reasons[other]}"
                more = True


def _order(item: AddressChange | UnchangedAddress) -> tuple[Place, str, str]:
    return item.place, item.service, item.variable


# -- what is safe


class _Fleet:
    """The audit's verdicts on a fleet, and the replacement of each address."""

    def __init__(self, found: Audit, agents: ExistingAgents, zone: str) -> None:
        self._services = found.project.services
        self._names = RegisteredNames(found.project)
        self._agents = agents
        self._zone = zone
        # Services whose health check asks an undeclared port: there is no telling which port is right.
        self._in_doubt = {f.service for f in found.findings if f.code == "health-port"}
        self._judged: dict[str, list[Judged]] = {}
        for judged in found.addresses:
            self._judged.setdefault(judged.service, []).append(judged)

    def pieces_of(
        self, service: ComposeService, unchanged: list[UnchangedAddress]
    ) -> Iterator[tuple[EnvEntry, _Piece]]:
        """Return the changes to a service's environment; the rest is added to `unchanged`."""
        for judged in self._judged.get(service.name, []):
            address = judged.address
            if address.host.lower().endswith(f".{self._zone}") or (judged.meant is Meant.ITSELF and not judged.code):
                continue  # discovered already, or the container's own address on its own port
            try:
                yield from self._pieces(service, judged)
            except _Refused as reason:
                unchanged.append(
                    UnchangedAddress(
                        address.place, service.name, address.variable, address.written, str(reason), reason.offered
                    )
                )

    def _pieces(self, service: ComposeService, judged: Judged) -> Iterator[tuple[EnvEntry, _Piece]]:
        address = judged.address
        target = self._target(judged)
        right = self._right_port(judged, target)
        name = self._name(target)
        port_differs = address.port != right
        wanted = host_port(name, right)
        offered = wanted if port_differs else ""
        if address.port is not None and not is_port(address.port):
            raise _Refused(f"port {address.port} does not exist, and it is not known which one was meant", offered)
        if self._registered(target) not in self._agents.ports:
            raise _Refused(f"{target.name} has no agent to register it", offered)
        if service.name not in self._agents.asking:
            raise _Refused(f"{service.name} does not resolve names through an agent", offered)
        if not service.network_names >= target.network_names:
            raise _Refused(f"{target.name} is in networks that {service.name} is not in", offered)
        host = self._entry(service, address.variable, offered)
        why = f"{target.name} listens on {right}" if port_differs else ""
        if address.port_variable is not None:
            yield from self._pair(service, host, address, wanted, why)
            return
        located = [found for found in located_in(host.raw, host.name, host.place) if found.address == address]
        if not located:
            raise _Refused("it is not written literally", offered)
        change = AddressChange(host.place, service.name, host.name, address.written, wanted, why)
        for start, end, _ in located:
            yield host, _Piece(start, end, wanted, change)

    def _pair(
        self, service: ComposeService, host: EnvEntry, address: HardCodedAddress, new: str, why: str
    ) -> Iterator[tuple[EnvEntry, _Piece]]:
        """Return the changes to `X_HOST` and `X_PORT`, which change together."""
        name, number = split_host_port(new)
        right = str(number)
        port = self._entry(service, address.port_variable or "", new)
        if (host.value or "").strip() != address.host:
            raise _Refused("it is one of several hosts with one port", new)
        start = (host.value or "").index(address.host)
        change = AddressChange(host.place, service.name, host.name, address.written, new, why)
        given = port.value or ""
        if given.strip() == right:
            yield host, _Piece(start, start + len(address.host), name, change)
            return
        also = AddressChange(port.place, service.name, port.name, given, right, why)
        yield host, _Piece(start, start + len(address.host), name, change, (port.place, port.name))
        yield port, _Piece(0, len(given), right, also, (host.place, host.name))

    def _entry(self, service: ComposeService, variable: str, offered: str) -> EnvEntry:
        """Return the variable to change. Raises _Refused when this file does not set it."""
        entry = service.env(variable)
        if entry is None:
            raise _Refused(f"it is in `{variable}`, and only `environment` is changed", offered)
        if entry.from_env_file:
            raise _Refused(f"{entry.name} is in {entry.place.file}, which is not changed", offered)
        if "$" in entry.raw or entry.value != entry.raw:
            raise _Refused("it is built from variables", offered)
        return entry

    def _target(self, judged: Judged) -> ComposeService:
        """Return the target service. Raises _Refused when its name cannot replace the address."""
        scheme = judged.address.scheme
        target = self._services.get(judged.target or "")
        if judged.meant not in _CALLABLE or target is None:
            raise _Refused(_WHY_NOT[judged.meant])
        if is_database(target):
            raise _Refused(f"{target.name} is a database or a broker, whose clients use names that it gives them")
        if scheme in _TLS_SCHEMES:
            raise _Refused("it uses TLS, and the certificate is for the name in the file")
        if scheme and scheme not in _OPEN_SCHEMES:
            raise _Refused(f"it is not known how {scheme}:// uses a name")
        if not self._registered(target):
            raise _Refused(f"it cannot be registered: {self._names.of(target.name).why}")
        if len(self._name(target)) > MAX_NAME_LENGTH:
            raise _Refused(f"its name with the zone would have more than {MAX_NAME_LENGTH} characters")
        return target

    def _right_port(self, judged: Judged, target: ComposeService) -> int:
        name, listens, port = target.name, judged.listens, judged.address.port
        if port is None:
            raise _Refused("it has no port beside it, so that its port is elsewhere")
        if len(listens) > 1:
            ports = ", ".join(str(p) for p in listens[:-1]) + f" and {listens[-1]}"
            raise _Refused(f"{name} listens on {ports}, and a name leads only to an address")
        if not listens or judged.right is None:
            raise _Refused(f"the file does not say on which port {name} listens")
        [own] = listens
        if judged.code == "doubtful-port" or (port != own and name in self._in_doubt):
            raise _Refused(f"by its ports {name} listens on {own}, but its health check uses another port")
        if judged.right != own or (judged.meant is Meant.OTHER_SPELLING and port != own and not judged.address.is_http):
            raise _Refused(f"{name} listens on {own} over TCP, and it is not certain that this is meant")
        if judged.code == "unproven-port":
            raise _Refused(f"{name} declares no port and does not mention {port}")
        return self._agents.ports.get(self._registered(target), own)

    def _name(self, target: ComposeService) -> str:
        # Written with '-': many clients reject '_' in a host name (RFC 1123), and our DNS treats both alike.
        return f"{label_of(self._registered(target))}.{self._zone}"

    def _registered(self, target: ComposeService) -> str:
        """Return the name of a service in the registry: the one that its agent has, else the one that it would get."""
        return self._agents.names.get(target.name) or self._names.of(target.name).name or ""


# -- where the values are


def _spots(outline: Outline) -> dict[tuple[int, str], list[Spot]]:
    """Return the values that may be variables (`NAME: value`, `- NAME=value`) by line and name."""
    lines = _LineNumbers(outline.text)
    found: dict[tuple[int, str], list[Spot]] = {}
    pending = [outline.root]
    while pending:
        spot = pending.pop()
        pending += spot.items
        if spot.shape is Shape.MAPPING:
            for key, value in spot.pairs:
                if key.shape is Shape.SCALAR and value.shape is Shape.SCALAR:
                    found.setdefault((lines.of(key.start), key.value), []).append(value)
        elif spot.shape is Shape.SEQUENCE:
            for item in spot.items:
                name, sign, _ = item.value.partition("=")
                if item.shape is Shape.SCALAR and sign:
                    found.setdefault((lines.of(item.start), name), []).append(item)
    return found


class _LineNumbers:
    def __init__(self, text: str) -> None:
        self._starts = [match.end() for match in BREAK.finditer(text)]

    def of(self, at: int) -> int:
        return bisect.bisect_right(self._starts, at) + 1


def _why_not(
    key: _Key,
    by_service: Mapping[str, list[_Piece]],
    users: set[str],
    spots: Mapping[tuple[int, str], list[Spot]],
    *,
    text: str,
    file: str,
) -> str:
    """Return why a value that could change cannot be edited in place; empty when it can."""
    place, name = key
    if place.file != file:
        return f"it is in {place.file}, which is not changed"
    here = spots.get((place.line, name), [])
    if len(here) != 1:
        return "it has no place of its own in the file"
    if _at(text, here[0], name) is None:
        return "it is written with escapes or over several lines"
    pieces = next(iter(by_service.values()))
    others = users - by_service.keys()
    whole = [(piece.start, piece.end, piece.new) for piece in pieces]
    if others or any([(p.start, p.end, p.new) for p in mine] != whole for mine in by_service.values()):
        return f"{min(others or users)} shares this text, and for it the change is not safe"
    return ""


def _at(text: str, spot: Spot, name: str) -> int | None:
    """Return the offset at which a variable's value begins, or None when the text does not hold it verbatim."""
    at = text.find(spot.value, spot.start, spot.end)
    if at < 0:
        return None
    return at + (len(name) + 1 if spot.value.startswith(f"{name}=") else 0)


def _check(before: Outline, text: str, edits: list[Edit]) -> None:
    """Raise NotEditable unless the edited text has the same nodes and values, apart from the edited ones."""
    ordered = sorted(edits, key=lambda e: e.start)
    starts = [e.start for e in ordered]
    pending = [(before.root, outline_of(text).root)]
    while pending:
        old, new = pending.pop()
        expected = old.value
        first = bisect.bisect_left(starts, old.start)
        inside = ordered[first : bisect.bisect_left(starts, old.end)] if old.shape is Shape.SCALAR else []
        if inside:
            at = before.text.index(old.value, old.start, old.end)
            expected = applied(old.value, [Edit(e.start - at, e.end - at, e.new) for e in inside])
        if (old.shape, old.style, expected, len(old.items)) != (new.shape, new.style, new.value, len(new.items)):
            raise NotEditable(f"{old.value[:60]!r} could not be changed without changing something else")
        pending += zip(old.items, new.items, strict=True)
