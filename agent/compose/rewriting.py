"""Puts discovered names in the place of hard-coded addresses, where that is safe, and says where it is not, and why.

Pure: text in, text out. A name leads to an address alone: whoever connects needs the port, too, so what is written is
`http://<service>.<zone>:<port>`, with the one port under which the service is registered. That is safe when the service
has an agent, has no other port, and the one who asks has a resolver that knows.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from agent.compose.errors import Place, printable
from agent.compose.model import EnvEntry, Project, Service
from agent.compose.outline import BREAK, NotEditable, Outline, Shape, Spot, outline_of
from agent.compose.planning import is_database
from agent.compose.sidecars import LABEL
from agent.compose.splice import Edit, applied
from agent.compose.standing import Standing
from registry_core.domain.names import check_service_name, label_of
from registry_core.domain.registration import MAX_PORT
from registry_core.errors import ValidationError

MAX_VALUE_LENGTH: Final = 4096
MAX_NAME_LENGTH: Final = 253  # of a whole name in DNS (RFC 1035 section 2.3.4)
# A URL, or host:port alone; user and password in a URL are passed over. It starts at a word's start only.
_ADDRESS: Final = re.compile(
    r"(?<![\w.$}/@-])(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:[^\s/@,]*@)?)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<port>\d{1,12}))?(?![\w.:@-])",
    re.ASCII,
)
_DEFAULT_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_OPEN_SCHEMES: Final = frozenset({"http", "ws", "grpc", "tcp"})
_TLS_SCHEMES: Final = frozenset({"https", "wss", "grpcs", "tls", "ssl", "amqps", "rediss"})
_ELSEWHERE: Final = frozenset({"localhost"})
_HOST_NAME: Final = re.compile(r"(?P<stem>.+)_HOST", re.ASCII)


class Change(msgspec.Struct, frozen=True):
    """An address that a discovered name takes the place of. `why`: what else about it changes."""

    place: Place
    service: str
    variable: str
    before: str
    after: str
    why: str = ""

    def __str__(self) -> str:
        because = f" ({self.why})" if self.why else ""
        return printable(f"{self.service}: {self.variable}: {self.before} -> {self.after}{because}")


class Kept(msgspec.Struct, frozen=True):
    """An address that is left as it is, and why. `offered`: what it would have to be."""

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


class Rewriting(msgspec.Struct, frozen=True):
    """The text as it is afterwards, what was changed, and what was not."""

    text: str
    changes: tuple[Change, ...] = ()
    kept: tuple[Kept, ...] = ()


class _Target(msgspec.Struct, frozen=True):
    """A service that addresses may mean: its container's ports, the one its health check asks, those of the host."""

    service: Service
    listening: tuple[int, ...]
    asked: int | None
    shown: frozenset[int]

    @property
    def ports(self) -> frozenset[int | None]:
        """Every port that is said of it."""
        return self.shown | {*self.listening, self.asked}


class _Refused(Exception):
    """Raised when an address is left as it is."""

    def __init__(self, reason: str, offered: str = "") -> None:
        super().__init__(reason)
        self.offered = offered


class _Piece(msgspec.Struct, frozen=True):
    """A part of a variable's value, and what takes its place."""

    start: int
    end: int
    new: str
    change: Change


def rewritten(text: str, project: Project, standing: Standing, zone: str) -> Rewriting:
    """Return a compose file's text with discovered names. `project` is what the text means. Raises NotEditable."""
    outline = outline_of(text)
    fleet = _Fleet(project, standing, zone)
    spots = _spots(outline)
    kept: list[Kept] = []
    found: dict[tuple[Place, str], dict[str, list[_Piece]]] = {}
    users: dict[tuple[Place, str], set[str]] = {}
    for service in project.services.values():
        if LABEL in service.labels:
            continue
        pieces = list(fleet.pieces_of(service, kept))
        for entry in service.environment:
            users.setdefault((entry.place, entry.name), set()).add(service.name)
        for entry, piece in pieces:
            found.setdefault((entry.place, entry.name), {}).setdefault(service.name, []).append(piece)
    edits: list[Edit] = []
    changes: list[Change] = []
    for key, by_service in found.items():
        reason = _why_not(key, by_service, users[key], spots, text=text, file=project.files[0])
        first = next(iter(by_service.values()))
        if reason:
            kept += (
                Kept(c.place, c.service, c.variable, c.before, reason)
                for pieces in by_service.values()
                for c in (piece.change for piece in pieces)
            )
            continue
        at = _at(text, spots[key[0].line, key[1]][0], key[1])
        edits += (Edit(at + piece.start, at + piece.end, piece.new) for piece in first if at is not None)
        changes += (piece.change for pieces in by_service.values() for piece in pieces)
    after = applied(text, edits)
    _check(outline, after, edits)
    return Rewriting(after, tuple(sorted(changes, key=_order)), tuple(sorted(kept, key=_order)))


def _order(item: Change | Kept) -> tuple[Place, str, str]:
    return item.place, item.service, item.variable


# -- what is safe


class _Fleet:
    """The services of a project, under every name by which its networks find them."""

    def __init__(self, project: Project, standing: Standing, zone: str) -> None:
        self._standing = standing
        self._zone = zone
        self._targets: dict[str, _Target] = {}
        for service in project.services.values():
            if LABEL not in service.labels:
                self._targets.setdefault(service.name.lower(), _target(service))
        for service in project.services.values():
            if LABEL in service.labels:
                continue
            aliases = (alias for attachment in service.networks for alias in attachment.aliases)
            for name in (service.name, service.container_name, service.hostname, *aliases):
                for spelling in (name.lower(), label_of(name)) if name else ():
                    self._targets.setdefault(spelling, _target(service))

    def pieces_of(self, service: Service, kept: list[Kept]) -> Iterator[tuple[EnvEntry, _Piece]]:
        """Return what changes in a service's environment; what does not is added to `kept`."""
        paired = dict(self._pairs(service))
        ports = {port.name for port in paired.values() if port is not None}
        for entry in service.environment:
            if entry.name in ports or entry.value is None:
                continue
            if entry.name in paired:
                yield from self._pair(service, entry, paired[entry.name], kept)
                continue
            for match in _ADDRESS.finditer(entry.value[:MAX_VALUE_LENGTH]):
                piece = self._address(service, entry, match, kept)
                if piece is not None:
                    yield entry, piece

    def _pairs(self, service: Service) -> Iterator[tuple[str, EnvEntry | None]]:
        for entry in service.environment:
            match = _HOST_NAME.fullmatch(entry.name)
            if match is not None and entry.value and entry.value.lower() in self._targets:
                yield entry.name, service.env(f"{match['stem']}_PORT")

    def _pair(
        self, service: Service, host: EnvEntry, port: EnvEntry | None, kept: list[Kept]
    ) -> Iterator[tuple[EnvEntry, _Piece]]:
        """Judge a pair `X_HOST` and `X_PORT`, which stand and change together."""
        target = self._targets[(host.value or "").lower()]
        shown = f"{host.value}:{port.value if port is not None else '?'}"
        try:
            port = _port_beside(host, port)
            right, why = self._judged(service, target, "", int(port.value or ""), host, port)
        except _Refused as reason:
            kept.append(Kept(host.place, service.name, host.name, shown, str(reason), reason.offered))
            return
        name = self._name(target)
        change = Change(host.place, service.name, host.name, shown, f"{name}:{right}", why)
        yield host, _Piece(0, len(host.value or ""), name, change)
        if str(right) != port.value:
            also = Change(port.place, service.name, port.name, port.value or "", str(right), why)
            yield port, _Piece(0, len(port.value or ""), str(right), also)

    def _address(self, service: Service, entry: EnvEntry, match: re.Match[str], kept: list[Kept]) -> _Piece | None:
        scheme, host = (match["scheme"] or "").lower(), match["host"]
        target = self._targets.get(host.lower()) or self._targets.get(label_of(host))
        port = int(match["port"]) if match["port"] else _DEFAULT_PORTS.get(scheme)
        shown = match[0][match.start("host") - match.start() :]
        if target is None:
            # With a dot it is somebody outside of the file, or found already.
            if scheme and "." not in host and host.lower() not in _ELSEWHERE:
                reason = "no service of the file has that name"
                kept.append(Kept(entry.place, service.name, entry.name, shown, reason))
            return None
        if not scheme and (port is None or (port <= MAX_PORT and port not in target.ports)):
            return None  # `redis:7` may be an image, and a name alone anything
        try:
            right, why = self._judged(service, target, scheme, port, entry)
        except _Refused as reason:
            kept.append(Kept(entry.place, service.name, entry.name, shown, str(reason), reason.offered))
            return None
        new = f"{self._name(target)}:{right}"
        change = Change(entry.place, service.name, entry.name, shown, new, why)
        return _Piece(match.start("host"), match.end(), new, change)

    def _name(self, target: _Target) -> str:
        # Written with '-': a '_' is no part of a host name for many clients (RFC 1123), and both are one here.
        return f"{label_of(target.service.name)}.{self._zone}"

    def _judged(
        self, user: Service, target: _Target, scheme: str, port: int | None, *entries: EnvEntry
    ) -> tuple[int, str]:
        """Return the port that is right, and what is to be said of it. Raises _Refused when it is not safe."""
        name = target.service.name
        if is_database(target.service):
            raise _Refused(f"{name} is a database or a broker, whose clients go by its own names")
        if scheme in _TLS_SCHEMES:
            raise _Refused("it is TLS, and the certificate has the name that stands there")
        if scheme and scheme not in _OPEN_SCHEMES:
            raise _Refused(f"what {scheme}:// makes of a name is not known")
        if port is None:
            raise _Refused(f"{scheme}:// says nothing of the port")
        try:
            check_service_name(name)
        except ValidationError as error:
            raise _Refused(f"it cannot be registered: {error.message}") from None
        if len(self._name(target)) > MAX_NAME_LENGTH:
            raise _Refused(f"with its zone its name would have more than {MAX_NAME_LENGTH} characters")
        right, why = self._right_port(target, port)
        offered = f"{self._name(target)}:{right}" if port != right else ""
        if name not in self._standing.ports:
            raise _Refused(f"{name} has no agent that would register it", offered)
        if user.name not in self._standing.asking:
            raise _Refused(f"{user.name} does not ask an agent for names", offered)
        for entry in entries:
            if entry.from_env_file:
                raise _Refused(f"{entry.name} stands in {entry.place.file}, which is not touched", offered)
            if "$" in entry.raw:
                raise _Refused("it is put together from variables", offered)
        return right, why

    def _right_port(self, target: _Target, port: int) -> tuple[int, str]:
        name, listening = target.service.name, target.listening
        registered = self._standing.ports.get(name)
        if len(listening) > 1:
            ports = ", ".join(str(p) for p in listening[:-1]) + f" and {listening[-1]}"
            raise _Refused(f"{name} listens on {ports}, and its name leads to its address alone")
        if not listening:
            raise _Refused(f"the file does not say on which port {name} listens")
        [own] = listening
        right = own if registered is None else registered
        if port in (own, right):
            return right, "" if port == right else f"port {right} of the host is where it is found"
        if target.asked is not None and target.asked != own:
            raise _Refused(f"its ports say that {name} listens on {own}, and its health check asks {target.asked}")
        if port > MAX_PORT:
            return right, f"there is no port {port}, and {name} has {own} alone"
        if port in target.shown:
            return right, f"{port} is what the host shows; it listens on {own}"
        return right, f"nobody listens on {port}; it listens on {own}"


def _port_beside(host: EnvEntry, port: EnvEntry | None) -> EnvEntry:
    if port is None:
        raise _Refused(f"there is no {host.name.removesuffix('HOST')}PORT beside it, so its port stands elsewhere")
    if not (port.value or "").isdecimal():
        raise _Refused(f"{port.name} is no number")
    return port


def _target(service: Service) -> _Target:
    listening = dict.fromkeys(port for entry in service.tcp_ports() for port in entry.targets[:1000])
    check = service.healthcheck
    asked = check.port if check is not None and check.url is not None and not check.disabled else None
    if not listening and asked is not None:
        listening = {asked: None}
    shown = frozenset(p for entry in service.ports for p in entry.published[:1000])
    return _Target(service, tuple(listening), asked, shown)


# -- where it stands


def _spots(outline: Outline) -> dict[tuple[int, str], list[Spot]]:
    """Return the values that may be variables, by the line and the name: `NAME: value`, `- NAME=value`."""
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
        return bisect_right(self._starts, at) + 1


def _why_not(
    key: tuple[Place, str],
    by_service: Mapping[str, list[_Piece]],
    users: set[str],
    spots: Mapping[tuple[int, str], list[Spot]],
    *,
    text: str,
    file: str,
) -> str:
    """Return why a value that could be changed cannot be changed where it stands; empty when it can."""
    place, name = key
    if place.file != file:
        return f"it stands in {place.file}, which is not touched"
    here = spots.get((place.line, name), [])
    if len(here) != 1:
        return "it does not stand in a place of its own"
    if _at(text, here[0], name) is None:
        return "it is written with escapes, or over several lines"
    pieces = next(iter(by_service.values()))
    others = users - by_service.keys()
    whole = [(piece.start, piece.end, piece.new) for piece in pieces]
    if others or any([(p.start, p.end, p.new) for p in mine] != whole for mine in by_service.values()):
        return f"{min(others or users)} shares what is written there, and for it that is not safe"
    return ""


def _at(text: str, spot: Spot, name: str) -> int | None:
    """Return where in the text a variable's value begins; None when it is not written there letter by letter."""
    at = text.find(spot.value, spot.start, spot.end)
    if at < 0:
        return None
    return at + (len(name) + 1 if spot.value.startswith(f"{name}=") else 0)


def _check(before: Outline, text: str, edits: list[Edit]) -> None:
    """Raise NotEditable unless the edited text has the same nodes with the same values, but for those edited."""
    edits = sorted(edits, key=lambda e: e.start)
    starts = [edit.start for edit in edits]
    pending = [(before.root, outline_of(text).root)]
    while pending:
        old, new = pending.pop()
        expected = old.value
        low, high = bisect_left(starts, old.start), bisect_left(starts, old.end)
        for edit in edits[low:high] if old.shape is Shape.SCALAR else ():
            expected = expected.replace(before.text[edit.start : edit.end], edit.new)
        if (old.shape, old.style, expected, len(old.items)) != (new.shape, new.style, new.value, len(new.items)):
            raise NotEditable(f"{old.value[:60]!r} could not be changed without changing something else")
        pending += zip(old.items, new.items, strict=True)
