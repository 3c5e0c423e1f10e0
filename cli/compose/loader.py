"""Assembles the descriptions of a project: several files, their includes, and `extends`.

It reads only through the function passed in, and returns trees without interpreting them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from typing import Final, NamedTuple

from cli.compose.env_file import env_lines
from cli.compose.errors import ComposeError, Place
from cli.compose.merge import canonical, merged
from cli.compose.tree import Mapping, MappingEntry, Node, Scalar, Sequence, tree_of

# Bounds what `extends` and several files copy: a chain of thousands that each add something would fill the memory.
MAX_MERGED: Final = 1_000_000
MAX_FILES: Final = 200

ReadFile = Callable[[str], bytes]
ReportError = Callable[[ComposeError], None]


class Loaded(NamedTuple):
    """The descriptions of all services, canonical and complete, each with the place of its name."""

    services: dict[str, MappingEntry]
    networks: Mapping | None
    name: str | None


class Extends(NamedTuple):
    """The place of a service's base."""

    file: str
    name: str
    place: Place


def no_variables(_: str) -> MappingType[str, str]:
    """Return what an included file's folder adds to the variables: nothing."""
    return {}


def dot_env(folder: str, variables: MappingType[str, str], read: ReadFile, report: ReportError) -> dict[str, str]:
    """Return the variables of a folder's `.env`; the existing `variables` take precedence."""
    path = os.path.join(folder, ".env")  # noqa: PTH118 - pure text
    try:
        text = read(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    return {line.name: line.value for line in env_lines(text, path, variables, report) if line.value is not None}


class Loading:
    """One reading of a project."""

    def __init__(self, variables: MappingType[str, str], read: ReadFile | None, report: ReportError) -> None:
        self._variables = variables
        self._read = read
        self._report = report
        self._trees: dict[str, Mapping] = {}
        self._bodies: dict[tuple[str, str], Mapping] = {}
        self._done: dict[tuple[str, str], Mapping] = {}
        self._prepared: set[str] = set()
        self._including: list[str] = []
        self._room = MAX_MERGED

    def load(self, files: list[tuple[str, bytes]]) -> Loaded:
        """Return the contents of the given files, each merged over those before it. Raises ComposeError."""
        services: dict[str, MappingEntry] = {}
        networks: Node | None = None
        name: str | None = None
        for file, raw in files:
            tree = self._tree(file, raw, self._variables)
            own = self._services(file, tree)
            for key, entry in own.items():
                body = self._extended(file, key, services)
                below = services.get(key)
                services[key] = MappingEntry(entry.place if below is None else below.place, self._over(below, body))
            for key, entry in self._included(file, tree).items():
                if key in services:
                    reason = f"{key} is defined here and in {services[key].place}; Compose refuses that"
                    self._report(ComposeError(reason, code="include", place=entry.place, field="include", service=key))
                else:
                    services[key] = entry
            given = tree.get("networks")
            networks = given if networks is None else networks if given is None else merged(networks, given)
            title = tree.get("name")
            name = title.text if isinstance(title, Scalar) else name
        return Loaded(services, networks if isinstance(networks, Mapping) else None, name)

    def _tree(self, file: str, raw: bytes | None, variables: MappingType[str, str]) -> Mapping:
        tree = self._trees.get(file)
        if tree is None:
            if raw is None:
                raw = self._bytes(file)
            if len(self._trees) >= MAX_FILES:
                raise ComposeError(f"it is one of more than {MAX_FILES} files", code="too-large", place=Place(file))
            tree = self._trees[file] = tree_of(raw, file, variables, self._report)
        return tree

    def _bytes(self, file: str) -> bytes:
        if self._read is None:
            raise ComposeError("other files are not followed; give each one separately", code="not-followed")
        try:
            return self._read(file)
        except OSError as error:
            raise ComposeError(error.strerror or str(error), code="no-file", place=Place(file)) from None

    def _services(self, file: str, tree: Mapping) -> dict[str, MappingEntry]:
        services = tree.get("services")
        if not isinstance(services, Mapping):
            return {}
        if file not in self._prepared:
            self._prepared.add(file)
            for name, entry in services.entries.items():
                if isinstance(entry.node, Mapping):
                    self._bodies[file, name] = canonical(entry.node, file)
        return services.entries

    def _over(self, below: MappingEntry | None, body: Node) -> Node:
        if below is None:
            return body
        node = merged(below.node, body)
        self._spend(node, below.place)
        return below.node if node is None else node

    def _spend(self, node: Node | None, place: Place) -> None:
        self._room -= _size(node)
        if self._room < 0:
            reason = f"its files and `extends` have more than {MAX_MERGED:,} values in total"
            raise ComposeError(reason, code="too-large", place=place)

    # -- extends

    def _extended(self, file: str, name: str, before: MappingType[str, MappingEntry]) -> Node:
        """Return a service's description merged over its bases; unusable bases are left out and reported."""
        chain: dict[tuple[str, str], Mapping] = {}
        first = name
        at: Mapping | None = None
        while True:
            key = (file, name)
            if key in self._done:
                at = self._done[key]
                break
            body = self._bodies.get(key)
            if body is None and not chain:
                return self._trees[file].entries["services"].node.entries[name].node  # type: ignore[union-attr]
            if key in chain or body is None:
                break
            chain[key] = body
            try:
                base = self._base_of(body, file)
                if base is None:
                    break
                at = self._look_up(base, chain, before)
            except ComposeError as error:
                self._tell(first, error, body.place_of("extends"))
                break
            if at is not None:
                break
            file, name = base.file, base.name
        for key, over in reversed(chain.items()):
            node = over if at is None else merged(at, over)
            self._spend(node if at is not None else None, over.place)
            at = node if isinstance(node, Mapping) else over
            self._done[key] = at
        return at if at is not None else self._bodies[file, name]

    def _look_up(
        self, base: Extends, chain: dict[tuple[str, str], Mapping], before: MappingType[str, MappingEntry]
    ) -> Mapping | None:
        """Return a base that is already complete; None when it must be followed. Raises ComposeError."""
        key = (base.file, base.name)
        if key in chain:
            names = list(chain)
            circle = [*(name for _, name in names[names.index(key) :]), base.name]
            reason = f"`extends` goes in a circle: {' -> '.join(circle[:10])}"
            raise ComposeError(reason, code="extends-cycle", place=base.place, field="extends")
        self._services(base.file, self._tree(base.file, None, self._variables))
        if key in self._bodies:
            return None
        earlier = before.get(base.name)
        if earlier is not None and isinstance(earlier.node, Mapping):
            return earlier.node
        reason = f"it extends {base.name!r}, which does not exist in {base.file or 'the file'}"
        raise ComposeError(reason, code="extends-missing", place=base.place, field="extends")

    def _base_of(self, body: Mapping, file: str) -> Extends | None:
        given = body.get("extends")
        if given is None:
            return None
        place = body.place_of("extends")
        if isinstance(given, Scalar):
            return Extends(file, given.text, place)
        named = given.get("service") if isinstance(given, Mapping) else None
        if not isinstance(given, Mapping) or not isinstance(named, Scalar):
            example = "extends: {service: base}"
            raise ComposeError("`extends` does not name its base", code="extends-missing", place=place, example=example)
        other = given.get("file")
        if isinstance(other, Scalar):
            file = os.path.normpath(os.path.join(os.path.dirname(file), other.text))  # noqa: PTH118, PTH120 - pure
        return Extends(file, named.text, place)

    def _tell(self, service: str, error: ComposeError, place: Place) -> None:
        """Report why a service's base cannot be used. Raises `error` itself when it concerns the whole project."""
        reason = error.message
        if error.code in ("no-file", "not-yaml", "not-compose"):
            reason = f"its base cannot be read: {error.place}: {reason}"
        if error.code == "too-large":
            raise error
        code = error.code if error.code.startswith("extends") else "extends-missing"
        self._report(ComposeError(reason, code=code, place=place, field=f"services.{service}.extends", service=service))

    # -- include

    def _included(self, file: str, tree: Mapping) -> dict[str, MappingEntry]:
        """Return the services of a file's includes; unreadable ones are reported."""
        given = tree.get("include")
        items = given.items if isinstance(given, Sequence) else () if given is None else (given,)
        found: dict[str, MappingEntry] = {}
        self._including.append(file)
        for item in items:
            for path in _paths(item):
                try:
                    found |= self._include(os.path.normpath(os.path.join(os.path.dirname(file), path)))  # noqa: PTH118, PTH120
                except ComposeError as error:
                    if error.code == "too-large":
                        raise
                    place = error.place if error.place.line else item.place
                    self._report(ComposeError(error.message, code="include", place=place, field="include"))
        self._including.pop()
        return found

    def _include(self, file: str) -> dict[str, MappingEntry]:
        if file in self._including:
            reason = f"`include` goes in a circle: {' -> '.join([*self._including, file])}"
            raise ComposeError(reason, code="include")
        variables = self._variables
        if self._read is not None:
            variables = {**dot_env(os.path.dirname(file), variables, self._read, self._report), **variables}  # noqa: PTH120
        tree = self._tree(file, None, variables)
        own = {
            name: MappingEntry(entry.place, self._extended(file, name, {}))
            for name, entry in self._services(file, tree).items()
        }
        return {**self._included(file, tree), **own}


def _paths(item: Node) -> list[str]:
    if isinstance(item, Mapping):
        path = item.get("path")
        # Several paths under one `path` are merged, the later over the earlier, into one fleet.
        return [] if path is None else _paths(path)
    if isinstance(item, Sequence):
        return [path for part in item.items for path in _paths(part)]
    return [] if item.null else [item.text]


def _size(node: Node | None) -> int:
    """Return an upper bound of the values a merge has copied: those of the map and of nested maps."""
    if not isinstance(node, Mapping):
        return 0
    return len(node.entries) + sum(
        len(e.node.entries) if isinstance(e.node, Mapping) else len(e.node.items) if isinstance(e.node, Sequence) else 0
        for e in node.entries.values()
    )
