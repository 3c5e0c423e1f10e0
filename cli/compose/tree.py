"""Parses YAML text into a tree in which each value knows its place, and fills in its variables.

Pure. Every scalar stays text (YAML 1.1 would read the port 5000:22 as a number in base 60), aliases and
`<<` are expanded within a bound, and foreign tags are ignored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from collections.abc import Mapping as MappingType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
import yaml

from cli.compose.errors import ComposeError, Place
from cli.compose.interpolation import BadVariable, fill

# All values of a file, counted again for each alias. Five thousand services have about 400,000.
MAX_VALUES: Final = 1_000_000
MAX_DEPTH: Final = 64
_KEPT_TAGS: Final = frozenset({"tag:yaml.org,2002:merge", "tag:yaml.org,2002:null"})
_MERGE: Final = "tag:yaml.org,2002:merge"
_NULL: Final = "tag:yaml.org,2002:null"

if TYPE_CHECKING:
    _Base = yaml.SafeLoader
else:  # the C loader is ten times as fast, if PyYAML was built with it
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Scalar(msgspec.Struct, frozen=True, gc=False):
    """A text. `raw` is the text before variable substitution; `unset` are the variables without a value."""

    text: str
    place: Place
    raw: str
    null: bool = False
    unset: tuple[str, ...] = ()
    tag: str = ""


class Sequence(msgspec.Struct, frozen=True, gc=False):
    """A list."""

    items: tuple[Node, ...]
    place: Place
    tag: str = ""


class MappingEntry(msgspec.Struct, frozen=True, gc=False):
    """A value and the place of its key."""

    place: Place
    node: Node


class Mapping(msgspec.Struct, frozen=True, gc=False):
    """A map in file order."""

    entries: dict[str, MappingEntry]
    place: Place
    tag: str = ""

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


class _Loader(_Base):
    """A safe loader that resolves null and `<<` only; everything else stays text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT_TAGS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def tree_of(raw: bytes, file: str, variables: MappingType[str, str], report: Callable[[ComposeError], None]) -> Mapping:
    """Return the tree of a YAML file whose top is a map.

    Raises ComposeError when it is not YAML, not a map or too large. Errors in one value go to `report`.
    """
    node = _composed(raw, file)
    if node is None:
        raise ComposeError("it is empty", code="not-compose", place=Place(file))
    if not isinstance(node, yaml.MappingNode):
        kind = "list" if isinstance(node, yaml.SequenceNode) else "text"
        reason = f"it is not a compose file: it is a {kind}, not a map"
        raise ComposeError(reason, code="not-compose", place=Place(file, 1), example="services: {web: {image: web}}")
    return _Growing(file, variables, report).mapping(node, None, 0)


def _composed(raw: bytes, file: str) -> yaml.Node | None:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ComposeError("it is not UTF-8 text", code="not-yaml", place=Place(file, line)) from None
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        reason = f"it is not YAML: {error.problem or error.context}"
        raise ComposeError(reason, code="not-yaml", place=Place(file, line)) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        raise ComposeError(f"it is not YAML: {reason[:200]}", code="not-yaml", place=Place(file)) from None


class _Growing:
    """Converts YAML nodes to ours and counts them."""

    def __init__(self, file: str, variables: MappingType[str, str], report: Callable[[ComposeError], None]) -> None:
        self._file = file
        self._variables = variables
        self._report = report
        self._left = MAX_VALUES
        self._open: set[int] = set()
        self._places: dict[int, Place] = {}

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
        items = tuple(self._node(item, path, depth + 1) for item in node.value)
        self._open.discard(id(node))
        return Sequence(items, self._place(node), _own(node.tag))

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
        if node.tag == _NULL:
            return Scalar("", place, raw, null=True)
        if "$" not in raw or path is None:
            return Scalar(raw, place, raw, tag=_own(node.tag))
        try:
            filled = fill(raw, self._variables)
        except BadVariable as error:
            code = "variable-required" if error.required else "variable"
            self._tell(str(error), code, place, path, "${PORT:-8000}")
            return Scalar(raw, place, raw, unset=(error.required or "",), tag=_own(node.tag))
        return Scalar(filled.text, place, raw, unset=filled.unset, tag=_own(node.tag))

    def mapping(self, node: yaml.MappingNode, path: NodePath, depth: int) -> Mapping:
        """Return a map with its `<<` merged in. Its own keys win, then the first of several `<<`."""
        self._enter(node, depth)
        merged: dict[str, MappingEntry] = {}
        own: dict[str, MappingEntry] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
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
                reason = f"{key!r} is defined twice, first in line {own[key].place.line}; Compose refuses that"
                self._tell(reason, "duplicate-key", place, (path, key), None)
                del own[key]
            own[key] = MappingEntry(place, self._node(value_node, (path, key), depth + 1))
        self._open.discard(id(node))
        return Mapping({**merged, **own} if merged else own, self._place(node), _own(node.tag))

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


def _own(tag: str | None) -> str:
    # `!reset` and `!override` are Compose's own; all other tags are ignored.
    return tag if tag in ("!reset", "!override") else ""
