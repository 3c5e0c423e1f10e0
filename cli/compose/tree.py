"""Turns YAML text into trees in which each value knows its place, and fills in its variables.

Pure. Every scalar stays text (YAML 1.1 would read the port 5000:22 as a number in base 60), aliases and
`<<` are expanded within a bound, and foreign tags are ignored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as MappingType
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import yaml

from cli.compose.errors import ComposeError, Place
from cli.compose.interpolation import BadVariable, fill
from cli.compose.yaml_nodes import MERGE, NULL, nodes_of

# All values of a file, counted again for each alias. Five thousand services have about 400,000.
MAX_VALUES: Final = 1_000_000
MAX_DEPTH: Final = 64


class Scalar(msgspec.Struct, frozen=True, gc=False):
    """A text. `raw` is the text before variable substitution; `unset` are the variables without a value.

    `plain`: it is written without quotes, so that it may be a number.
    """

    text: str
    place: Place
    raw: str
    null: bool = False
    unset: tuple[str, ...] = ()
    plain: bool = False


class Sequence(msgspec.Struct, frozen=True, gc=False):
    """A list."""

    items: tuple[Node, ...]
    place: Place


class MappingEntry(msgspec.Struct, frozen=True, gc=False):
    """A value and the place of its key."""

    place: Place
    node: Node


class Mapping(msgspec.Struct, frozen=True, gc=False):
    """A map in file order. `listed`: it was a list, as `environment` may be."""

    entries: dict[str, MappingEntry]
    place: Place
    listed: bool = False

    def get(self, key: str) -> Node | None:
        """Return the value under `key`, or None when it is missing or null."""
        entry = self.entries.get(key)
        return None if entry is None or is_null(entry.node) else entry.node

    def place_of(self, key: str) -> Place:
        """Return the place of a key, or of the map when the key is missing."""
        entry = self.entries.get(key)
        return self.place if entry is None else entry.place


Node: TypeAlias = Scalar | Sequence | Mapping
NodePath: TypeAlias = tuple[Any, str] | None


def is_null(node: Node) -> bool:
    """Return whether the value is null."""
    return isinstance(node, Scalar) and node.null


def plain(node: Node) -> Any:
    """Return a tree as plain lists, maps and texts."""
    match node:
        case Scalar():
            return None if node.null else node.text
        case Sequence():
            return [plain(item) for item in node.items]
        case Mapping():
            return {key: plain(entry.node) for key, entry in node.entries.items()}


# The paths of values that a document takes away: the rest of each, by its first two keys (`services` and a name).
Resets: TypeAlias = dict[tuple[str, ...], set[tuple[str, ...]]]


class Document(NamedTuple):
    """One document of a file. `resets` is what `!reset` and `!override` take away from earlier ones."""

    root: Mapping
    resets: Resets


def documents_of(
    nodes: Iterable[yaml.Node], file: str, variables: MappingType[str, str], report: Callable[[ComposeError], None]
) -> list[Document]:
    """Return the documents with these roots; values under `!reset` are left out.

    Raises ComposeError when one is not a map or is too large. Errors in one value go to `report`.
    """
    growing = _Growing(file, variables, report)
    return [growing.document(node) for node in nodes]


def tree_of(raw: bytes, file: str, variables: MappingType[str, str], report: Callable[[ComposeError], None]) -> Mapping:
    """Return the tree of a YAML text that has one document. Raises ComposeError, also for none and for several."""
    documents = documents_of(nodes_of(raw, file), file, variables, report)
    if len(documents) != 1:
        reason = "it has more than one document" if documents else "it is empty"
        raise ComposeError(reason, code="not-compose", place=Place(file))
    return documents[0].root


class _Growing:
    """Converts YAML nodes to ours and counts them."""

    def __init__(self, file: str, variables: MappingType[str, str], report: Callable[[ComposeError], None]) -> None:
        self._file = file
        self._variables = variables
        self._report = report
        self._left = MAX_VALUES
        self._open: set[int] = set()
        self._places: dict[int, Place] = {}
        self._resets: Resets = {}

    def document(self, node: yaml.Node) -> Document:
        """Return a document. Raises ComposeError when it is not a map."""
        if not isinstance(node, yaml.MappingNode):
            kind = "list" if isinstance(node, yaml.SequenceNode) else "text"
            kind = "document without content" if node.tag == NULL else kind
            reason = f"it is not a compose file: it is a {kind}, not a map"
            place = Place(self._file, node.start_mark.line + 1)
            raise ComposeError(reason, code="not-compose", place=place, example="services: {web: {image: web}}")
        self._resets = {}
        root = self.mapping(node, None, 0)
        return Document(root, self._resets)

    def _place(self, node: yaml.Node) -> Place:
        line = node.start_mark.line + 1
        place = self._places.get(line)
        if place is None:
            place = self._places[line] = Place(self._file, line)
        return place

    def _spend(self, node: yaml.Node, count: int = 1) -> None:
        self._left -= count
        if self._left < 0:
            reason = f"it has more than {MAX_VALUES:,} values with its aliases expanded, too many for a compose file"
            raise ComposeError(reason, code="too-large", place=self._place(node))

    def _node(self, node: yaml.Node, path: NodePath, depth: int) -> Node:
        self._spend(node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth)
        self._enter(node, depth)
        items = tuple(
            self._node(item, (path, str(at)), depth + 1)
            for at, item in enumerate(node.value)
            if not self._is_reset(item, (path, str(at)))
        )
        self._open.discard(id(node))
        return Sequence(items, self._place(node))

    def _is_reset(self, node: yaml.Node, path: NodePath) -> bool:
        """Return whether a value is under `!reset`; remember what it, or `!override`, takes away."""
        if node.tag not in ("!reset", "!override"):
            return False
        keys = tuple(_keys(path))
        self._resets.setdefault(keys[:2], set()).add(keys[2:])
        return bool(node.tag == "!reset")

    def _enter(self, node: yaml.Node, depth: int) -> None:
        if id(node) in self._open:
            raise ComposeError("an alias contains itself", code="too-large", place=self._place(node))
        if depth > MAX_DEPTH:
            reason = f"it is nested more than {MAX_DEPTH} deep"
            raise ComposeError(reason, code="too-large", place=self._place(node))
        self._open.add(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: NodePath) -> Scalar:
        raw = node.value
        place = self._place(node)
        if node.tag == NULL:
            return Scalar("", place, raw, null=True)
        if "$" not in raw or path is None:
            return Scalar(raw, place, raw, plain=not node.style)
        try:
            filled = fill(raw, self._variables)
        except BadVariable as error:
            code = "variable-required" if error.required else "variable"
            self._tell(str(error), code, place, path, "${PORT:-8000}")
            return Scalar(raw, place, raw, unset=(error.required or "",))
        return Scalar(filled.text, place, raw, unset=filled.unset)

    def mapping(self, node: yaml.MappingNode, path: NodePath, depth: int) -> Mapping:
        """Return a map with its `<<` merged in. Its own keys win, then the first of several `<<`."""
        self._enter(node, depth)
        merged: dict[str, MappingEntry] = {}
        own: dict[str, MappingEntry] = {}
        merges: list[Place] = []
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                if merges:
                    self._twice("<<", self._place(key_node), merges[0], path)
                merges.append(self._place(key_node))
                for source in self._sources(key_node, value_node, path, depth):
                    self._spend(key_node, len(source.entries))
                    for key, entry in source.entries.items():
                        merged.setdefault(key, entry)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise ComposeError("it is not YAML: found unhashable key", code="not-yaml", place=self._place(key_node))
            key = sys.intern(key_node.value)
            place = self._place(key_node)
            if key in own:
                self._twice(key, place, own.pop(key).place, path)
            if self._is_reset(value_node, (path, key)):
                continue  # what `<<` says of the same key stays
            own[key] = MappingEntry(place, self._node(value_node, (path, key), depth + 1))
        self._open.discard(id(node))
        entries = {**merged, **own} if merged else own
        return Mapping(entries, self._place(node))

    def _twice(self, key: str, place: Place, first: Place, path: NodePath) -> None:
        reason = f"{key!r} is defined twice, first in line {first.line}; Compose refuses that"
        self._tell(reason, "duplicate-key", place, (path, key), None)

    def _sources(self, key: yaml.Node, value: yaml.Node, path: NodePath, depth: int) -> Iterator[Mapping]:
        nodes = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for node in nodes:
            if not isinstance(node, yaml.MappingNode):
                raise ComposeError(
                    "'<<' merges only maps", code="not-yaml", place=self._place(key), example="<<: *base"
                )
            yield self.mapping(node, path, depth + 1)

    def _tell(self, reason: str, code: str, place: Place, path: NodePath, example: str | None) -> None:
        keys = _keys(path)
        service = keys[1] if len(keys) > 1 and keys[0] == "services" else None
        self._report(
            ComposeError(reason, code=code, place=place, field=".".join(keys), service=service, example=example)
        )


def _keys(path: NodePath) -> list[str]:
    keys: list[str] = []
    while path is not None:
        path, key = path
        keys.append(key)
    return keys[::-1]
