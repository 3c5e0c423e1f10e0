"""Assembles the descriptions of a project: several files and documents, their includes, and `extends`.

It reads only through the function passed in, and returns trees without interpreting them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from typing import Final

import msgspec

from cli.compose.env_file import filled_in, statements_of
from cli.compose.errors import ComposeError, Place
from cli.compose.extends import Bases, Extending
from cli.compose.merge import canonical, merged, without
from cli.compose.refusals import check_document
from cli.compose.tree import Document, Mapping, MappingEntry, Node, Resets, Scalar, Sequence, documents_of
from cli.compose.yaml_nodes import named_in, nodes_of
from registry_core.causes import cause_of

# Bounds what `extends` and several files copy: a chain of thousands that each add something would fill the memory.
MAX_MERGED: Final = 1_000_000
MAX_FILES: Final = 200
# Compose reads no `.env` for an include that names this one.
_NO_ENV_FILE: Final = "/dev/null"
_SERVICES, _NETWORKS = ("services",), ("networks",)

ReadFile = Callable[[str], bytes]
ReportError = Callable[[ComposeError], None]


class Loaded(msgspec.Struct):
    """The descriptions of all services, canonical and complete, each with the place of its name; and the networks."""

    services: dict[str, MappingEntry]
    networks: dict[str, MappingEntry]


class _Scope(msgspec.Struct, frozen=True):
    """What a set of files shares: the folder that their paths are relative to, and the variables."""

    folder: str
    variables: MappingType[str, str]


class _Include(msgspec.Struct, frozen=True):
    """One entry of `include`. `env_files` None: the `.env` of its folder, if there is one."""

    paths: tuple[str, ...]
    folder: str
    env_files: tuple[str, ...] | None
    place: Place


def dot_env(
    paths: tuple[str, ...], variables: MappingType[str, str], read: ReadFile, report: ReportError
) -> dict[str, str]:
    """Return the variables of `.env` files, later ones winning; they see `variables`, and one another's.

    Raises OSError when one cannot be read.
    """
    known: dict[str, str] = {}
    for path in paths:
        text = read(path).decode("utf-8-sig", "replace")
        filled_in(statements_of(text, path, report), variables, known, path, report)
    return known


class Loading:
    """One reading of a project."""

    def __init__(self, files: list[tuple[str, bytes]], read: ReadFile | None, report: ReportError) -> None:
        self._files = tuple(file for file, _ in files)
        self._read = read
        self._report = report
        self._nodes = {file: nodes_of(raw, file) for file, raw in files}
        self._documents: dict[tuple[str, int], list[Document]] = {}
        self._included: dict[tuple[object, ...], Loaded] = {}
        # Variables that are equal are one object, so that a file is parsed once for them all.
        self._scopes: dict[frozenset[tuple[str, str]], MappingType[str, str]] = {}
        self._room = MAX_MERGED
        self._extending = Extending(self._bases, self._spend, report)

    def title(self) -> str:
        """Return the `name` that the given files have, as it is written; the last one counts."""
        names = [named_in(node) for file in self._files for node in self._nodes[file]]
        return next((name for name in reversed(names) if name), "")

    def is_empty(self) -> bool:
        """Return whether the given files have no content at all."""
        return not any(self._nodes[file] for file in self._files)

    def load(self, folder: str, variables: MappingType[str, str]) -> Loaded:
        """Return the contents of the given files, each merged over those before it. Raises ComposeError.

        `folder` is the project's: paths in the files are relative to it.
        """
        return self._loaded(self._files, _Scope(folder, variables), ())

    def _loaded(self, files: tuple[str, ...], scope: _Scope, including: tuple[str, ...]) -> Loaded:
        found = Loaded({}, {})
        for file in files:
            for document in self._parsed(file, scope.variables):
                self._add(found, file, document, scope, (*including, file))
        return found

    def _add(self, found: Loaded, file: str, document: Document, scope: _Scope, including: tuple[str, ...]) -> None:
        """Merge one document over what the ones before it say."""
        resets = document.resets
        own = self._bodies(document.root, scope.folder)
        networks = _entries(document.root.get("networks"))
        for include in _includes(document.root, scope.folder):
            inner = self._include(include, scope, including)
            if inner is not None:
                own = self._imported(inner.services, own, resets, _SERVICES)
                networks = self._imported(inner.networks, networks, resets, _NETWORKS)
        found.services = _left(found.services, resets, _SERVICES)
        found.networks = _left(found.networks, resets, _NETWORKS)
        bases = Bases(file, scope.folder, scope.variables, own, resets)
        for name, entry in own.items():
            body = self._extending.complete(bases, name) if isinstance(entry.node, Mapping) else entry.node
            below = found.services.get(name)
            place = entry.place if below is None else below.place
            found.services[name] = MappingEntry(place, self._over(below, body))
        for name, entry in networks.items():
            found.networks[name] = MappingEntry(entry.place, self._over(found.networks.get(name), entry.node))

    def _bodies(self, root: Mapping, folder: str) -> dict[str, MappingEntry]:
        check_document(root, self._report)
        services = _entries(root.get("services"))
        return {
            name: MappingEntry(entry.place, canonical(entry.node, folder)) if isinstance(entry.node, Mapping) else entry
            for name, entry in services.items()
        }

    def _over(self, below: MappingEntry | None, body: Node) -> Node:
        if below is None:
            return body
        node = merged(below.node, body)
        self._spend(node, below.place)
        return node

    def _spend(self, node: Node, place: Place) -> None:
        self._room -= _size(node)
        if self._room < 0:
            reason = f"its files and `extends` have more than {MAX_MERGED:,} values in total"
            raise ComposeError(reason, code="too-large", place=place)

    # -- files

    def _parsed(self, file: str, variables: MappingType[str, str]) -> list[Document]:
        key = (file, id(variables))
        documents = self._documents.get(key)
        if documents is None:
            if len(self._documents) >= MAX_FILES:
                raise ComposeError(f"it is one of more than {MAX_FILES} files", code="too-large", place=Place(file))
            if file not in self._nodes:
                self._nodes[file] = nodes_of(self._bytes(file), file)
            documents = self._documents[key] = documents_of(self._nodes[file], file, variables, self._report)
        return documents

    def _bytes(self, file: str) -> bytes:
        if self._read is None:
            raise ComposeError("other files are not followed; give each one separately", code="not-followed")
        try:
            return self._read(file)
        except OSError as error:
            raise ComposeError(cause_of(error), code="no-file", place=Place(file)) from None

    def _bases(self, file: str, variables: MappingType[str, str]) -> Bases:
        """Return the services of a file that `extends` names: as they are there, without includes and bases."""
        folder = os.path.dirname(file)  # noqa: PTH120 - pure text
        services: dict[str, MappingEntry] = {}
        resets: Resets = {}
        for document in self._parsed(file, variables):
            resets = document.resets
            services = _left(services, resets, _SERVICES)
            for name, entry in self._bodies(document.root, folder).items():
                services[name] = MappingEntry(entry.place, self._over(services.get(name), entry.node))
        return Bases(file, folder, variables, services, resets)

    # -- include

    def _include(self, include: _Include, scope: _Scope, including: tuple[str, ...]) -> Loaded | None:
        """Return what an include brings; None, and a report, when it cannot be used."""
        try:
            _check_circle(include.paths[0], including)
            variables = self._including(include, scope.variables)
            key = (include.paths, include.folder, id(variables))
            if key not in self._included:
                self._included[key] = self._loaded(include.paths, _Scope(include.folder, variables), including)
            return self._included[key]
        except ComposeError as error:
            if error.code == "too-large":
                raise
            place = error.place if error.place.line else include.place
            self._report(ComposeError(error.message, code="include", place=place, field="include"))
        return None

    def _including(self, include: _Include, variables: MappingType[str, str]) -> MappingType[str, str]:
        """Return the variables of an included file: its env files add to those of the files that include it."""
        if self._read is None:
            return variables
        paths = include.env_files
        try:
            path = os.path.join(include.folder, ".env")  # noqa: PTH118 - pure text
            added = dot_env((path,) if paths is None else paths, variables, self._read, self._report)
        except OSError as error:
            if paths is not None:
                reason = f"its env file cannot be read: {error.strerror or error}"
                raise ComposeError(reason, code="include", place=include.place) from None
            return variables
        together = {**added, **variables}
        if len(together) == len(variables):
            return variables
        return self._scopes.setdefault(frozenset(together.items()), together)

    def _imported(
        self,
        inner: dict[str, MappingEntry],
        own: dict[str, MappingEntry],
        resets: Resets,
        prefix: tuple[str, ...],
    ) -> dict[str, MappingEntry]:
        """Return what is included, with what the including file says merged over it."""
        together = dict(own)
        for name, entry in inner.items():
            mine = own.get(name)
            if mine is None:
                together[name] = entry
                continue
            node = merged(without(entry.node, resets, (*prefix, name)), mine.node)
            self._spend(node, entry.place)
            together[name] = MappingEntry(mine.place, node)
        return together


def _entries(node: Node | None) -> dict[str, MappingEntry]:
    return dict(node.entries) if isinstance(node, Mapping) else {}


def _left(entries: dict[str, MappingEntry], resets: Resets, prefix: tuple[str, ...]) -> dict[str, MappingEntry]:
    """Return what a document's resets leave of the entries of earlier documents."""
    if not resets or not entries:
        return entries
    if prefix in resets:
        return {}
    return {
        name: MappingEntry(entry.place, without(entry.node, resets, (*prefix, name)))
        for name, entry in entries.items()
        if () not in resets.get((*prefix, name), ())
    }


def _includes(root: Mapping, folder: str) -> list[_Include]:
    """Return the entries of a document's `include`; their paths are relative to `folder`."""
    given = root.get("include")
    items = given.items if isinstance(given, Sequence) else () if given is None else (given,)
    found: list[_Include] = []
    for item in items:
        named = item.get("path") if isinstance(item, Mapping) else item
        paths = tuple(_under(folder, path) for path in _texts(named))
        if not paths:
            continue
        root_folder, env_files = os.path.dirname(paths[0]), None  # noqa: PTH120 - pure text
        if isinstance(item, Mapping):
            directory, env_file = item.get("project_directory"), item.get("env_file")
            if isinstance(directory, Scalar) and directory.text:
                root_folder = _under(folder, directory.text)
            if _texts(env_file):
                env_files = tuple(_under(folder, path) for path in _texts(env_file) if path != _NO_ENV_FILE)
        found.append(_Include(paths, root_folder, env_files, item.place))
    return found


def _check_circle(file: str, including: tuple[str, ...]) -> None:
    """Raise ComposeError when a file includes itself, through others or not."""
    if file in including:
        reason = f"`include` goes in a circle: {' -> '.join([*including, file])}"
        raise ComposeError(reason, code="include")


def _under(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118 - pure text


def _texts(node: Node | None) -> list[str]:
    items = node.items if isinstance(node, Sequence) else () if node is None else (node,)
    return [item.text for item in items if isinstance(item, Scalar) and not item.null]


def _size(node: Node) -> int:
    """Return an upper bound of the values a merge has copied: those of the map and of nested maps."""
    if not isinstance(node, Mapping):
        return 0
    return len(node.entries) + sum(
        len(e.node.entries) if isinstance(e.node, Mapping) else len(e.node.items) if isinstance(e.node, Sequence) else 0
        for e in node.entries.values()
    )
