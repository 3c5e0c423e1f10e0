"""Completes the descriptions of services that extend others.

It asks for the services of other files through the function passed in. A base that cannot be used costs its service
alone: the service keeps what it says itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Mapping as MappingType

import msgspec

from cli.compose.errors import ComposeError, Place
from cli.compose.merge import merged, without
from cli.compose.tree import Mapping, MappingEntry, Node, Resets, Scalar


class Bases(msgspec.Struct):
    """The services among which a name in `extends` is looked up: those of one document, or of one other file.

    `variables` fill in other files that they extend, `done` are those that are complete already.
    """

    file: str
    folder: str
    variables: MappingType[str, str]
    services: dict[str, MappingEntry]
    resets: Resets
    done: dict[str, Mapping] = {}


class _Base(msgspec.Struct, frozen=True):
    """What `extends` names. `file` None: the service is in the same document."""

    file: str | None
    name: str
    place: Place


class _Link(msgspec.Struct, frozen=True):
    """One service of a chain of extending services, with where it stands."""

    bases: Bases
    name: str
    body: Mapping


class Extending:
    """Follows `extends`, also through thousands of services."""

    def __init__(
        self,
        other: Callable[[str, MappingType[str, str]], Bases],
        spend: Callable[[Node, Place], None],
        report: Callable[[ComposeError], None],
    ) -> None:
        self._other = other
        self._spend = spend
        self._report = report
        self._files: dict[tuple[str, int], Bases] = {}

    def complete(self, bases: Bases, name: str) -> Node:
        """Return a service's description merged over its bases; unusable bases are left out and reported."""
        chain, at = self._chain(bases, name)
        for link in reversed(chain):
            body = _complete(link.body)
            if at is None:
                at = body
            else:
                resets = link.bases.resets
                node = merged(without(at, resets, ("services", link.name)), body)
                self._spend(node, body.place)
                at = node if isinstance(node, Mapping) else body
            link.bases.done[link.name] = at
        return at if at is not None else bases.services[name].node

    def _chain(self, bases: Bases, name: str) -> tuple[list[_Link], Mapping | None]:
        """Return the services that extend one another, the first one first, and the complete base of the last."""
        chain: list[_Link] = []
        seen: dict[tuple[int, str], int] = {}
        first = name
        while True:
            if name in bases.done:
                return chain, bases.done[name]
            body = bases.services[name].node
            if not isinstance(body, Mapping):
                return chain, None
            seen[id(bases), name] = len(chain)
            chain.append(_Link(bases, name, body))
            try:
                base = _base_of(body, bases)
                if base is None:
                    return chain, None
                bases, name = self._found(bases, base), base.name
                _check_circle(chain, seen.get((id(bases), name)), base)
            except ComposeError as error:
                self._tell(first, error, body.place_of("extends"))
                return chain, None

    def _found(self, bases: Bases, base: _Base) -> Bases:
        """Return where a base stands. Raises ComposeError when it does not exist."""
        if base.file is not None:
            key = (base.file, id(bases.variables))
            if key not in self._files:
                self._files[key] = self._other(base.file, bases.variables)
            bases = self._files[key]
        if base.name not in bases.services:
            reason = f"it extends {base.name!r}, which does not exist in {bases.file or 'the file'}"
            raise ComposeError(reason, code="extends-missing", place=base.place, field="extends")
        return bases

    def _tell(self, service: str, error: ComposeError, place: Place) -> None:
        """Report why a service's base cannot be used. Raises `error` itself when it concerns the whole project."""
        reason = error.message
        if error.code in ("no-file", "not-yaml", "not-compose"):
            reason = f"its base cannot be read: {error.place}: {reason}"
        if error.code == "too-large":
            raise error
        code = error.code if error.code.startswith("extends") else "extends-missing"
        self._report(ComposeError(reason, code=code, place=place, field=f"services.{service}.extends", service=service))


def _complete(body: Mapping) -> Mapping:
    """Return a description that extends nothing more: what includes it is not to look for the base again."""
    return Mapping({key: entry for key, entry in body.entries.items() if key != "extends"}, body.place)


def _check_circle(chain: list[_Link], start: int | None, base: _Base) -> None:
    """Raise ComposeError when a chain comes back to its link at `start`."""
    if start is not None:
        circle = [*(link.name for link in chain[start:]), base.name]
        reason = f"`extends` goes in a circle: {' -> '.join(circle[:10])}"
        raise ComposeError(reason, code="extends-cycle", place=base.place, field="extends")


def _base_of(body: Mapping, bases: Bases) -> _Base | None:
    """Return what a service extends. Raises ComposeError when it does not say."""
    given = body.get("extends")
    if given is None:
        return None
    place = body.place_of("extends")
    if isinstance(given, Scalar):
        return _Base(None, given.text, place)
    named = given.get("service") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(named, Scalar):
        example = "extends: {service: base}"
        raise ComposeError("`extends` does not name its base", code="extends-missing", place=place, example=example)
    other = given.get("file")
    if not isinstance(other, Scalar):
        return _Base(None, named.text, place)
    file = os.path.normpath(os.path.join(bases.folder, other.text))  # noqa: PTH118 - pure text
    return _Base(file, named.text, place)
