"""Edits addresses in the values of a compose file's environments, and changes nothing else.

Pure: text in, text out. Which address becomes what is decided elsewhere. A value can be edited when it stands in this
file alone, as it is written, and for every service that shares it alike.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias

import msgspec

from cli.compose.address_syntax import HardCodedAddress, located_in
from cli.compose.errors import Place
from cli.compose.model import ComposeService, EnvEntry, Project
from cli.compose.outline import BREAK, NotEditable, Outline, Shape, Spot, line_of, outline_of
from cli.compose.sidecars import LABEL
from cli.compose.splice import Edit, applied
from cli.terminal import printable
from registry_core.domain.host_port import split_host_port


class AddressChange(msgspec.Struct, frozen=True):
    """An address that is replaced. `why`: what else about it changes. `over_http`: it may be called over HTTP."""

    place: Place
    service: str
    variable: str
    before: str
    after: str
    why: str = ""
    over_http: bool = False

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
Key: TypeAlias = tuple[Place, str]


class Rewriting(msgspec.Struct, frozen=True):
    """The new text, the addresses that changed, and those that did not."""

    text: str
    changes: tuple[AddressChange, ...] = ()
    unchanged: tuple[UnchangedAddress, ...] = ()


class Refused(Exception):
    """Raised when an address must stay unchanged."""

    def __init__(self, reason: str, offered: str = "") -> None:
        super().__init__(reason)
        self.offered = offered


class Piece(msgspec.Struct, frozen=True):
    """A part of a variable's value, and its replacement."""

    start: int
    end: int
    new: str
    change: AddressChange
    # The variable that must change together with this one.
    beside: Key | None = None


PiecesOf: TypeAlias = Callable[[ComposeService, list[UnchangedAddress]], Iterator[tuple[EnvEntry, Piece]]]


def edited(text: str, project: Project, pieces_of: PiecesOf) -> Rewriting:
    """Return a compose file's text with the pieces that `pieces_of` finds; `project` is the parsed text.

    Raises NotEditable when the text cannot be edited.
    """
    outline = outline_of(text)
    spots = _spots(outline)
    unchanged: list[UnchangedAddress] = []
    found: dict[Key, dict[str, list[Piece]]] = {}
    users: dict[Key, set[str]] = {}
    for service in project.services.values():
        if LABEL in service.labels:
            continue
        pieces = list(pieces_of(service, unchanged))
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


def pieces_for(
    entries: Mapping[str, EnvEntry], address: HardCodedAddress, change: AddressChange
) -> Iterator[tuple[EnvEntry, Piece]]:
    """Return the pieces that make `change` of an address. Raises Refused when this file does not hold the address.

    `entries` are the variables of the service. A host and its port in two variables change together.
    """
    new = change.after
    host = _entry(entries, address.variable, new if change.why else "")
    if address.port_variable is not None:
        yield from _pair(host, _entry(entries, address.port_variable, new), address, change)
        return
    if address.is_apart:
        raise Refused("its host and its port do not stand together", new if change.why else "")
    if address.port is None and host.raw.strip() == address.host:
        start = host.raw.index(address.host)
        yield host, Piece(start, start + len(address.host), new, change)
        return
    places = _places(host.raw, host.name, host.place).get(address)
    if not places:
        raise Refused("it is not written literally", new if change.why else "")
    for start, end in places:
        yield host, Piece(start, end, new, change)


def _pair(
    host: EnvEntry, port: EnvEntry, address: HardCodedAddress, change: AddressChange
) -> Iterator[tuple[EnvEntry, Piece]]:
    """Return the changes to `X_HOST` and `X_PORT`, which change together."""
    name, number = split_host_port(change.after)
    right = str(number)
    value = host.value or ""
    if value.strip() == address.host:
        start = value.index(address.host)
    else:
        found = [one.start for one in located_in(value, host.name, host.place) if one.address.host == address.host]
        if len(found) != 1:
            raise Refused("it is one of several hosts with one port", change.after)
        start = found[0]
    given = port.value or ""
    end = start + len(address.host)
    if given.strip() == right:
        yield host, Piece(start, end, name, change)
        return
    also = AddressChange(port.place, change.service, port.name, given, right, change.why)
    yield host, Piece(start, end, name, change, (port.place, port.name))
    yield port, Piece(0, len(given), right, also, (host.place, host.name))


def _entry(entries: Mapping[str, EnvEntry], variable: str, offered: str) -> EnvEntry:
    """Return the variable to change. Raises Refused when this file does not set it."""
    entry = entries.get(variable)
    if entry is None:
        raise Refused(f"it is in `{variable}`, and only `environment` is changed", offered)
    if entry.from_env_file:
        raise Refused(f"{entry.name} is in {entry.place.file}, which is not changed", offered)
    if "$" in entry.raw or entry.value != entry.raw:
        raise Refused("it is built from variables", offered)
    return entry


@lru_cache(maxsize=16)
def _places(text: str, variable: str, place: Place) -> Mapping[HardCodedAddress, list[tuple[int, int]]]:
    """Return where each address stands in a value. Cached: a value's addresses are asked for one after another."""
    found: dict[HardCodedAddress, list[tuple[int, int]]] = {}
    for start, end, address in located_in(text, variable, place):
        found.setdefault(address, []).append((start, end))
    return found


def _together(found: Mapping[Key, Mapping[str, list[Piece]]], reasons: dict[Key, str]) -> None:
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
    key: Key,
    by_service: Mapping[str, list[Piece]],
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
            line = line_of(before.text, old.start)
            raise NotEditable("a value could not be changed without changing something else", line)
        pending += zip(old.items, new.items, strict=True)
