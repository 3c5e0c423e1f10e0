"""Merges one service's description over another, as Compose does for several files and for `extends`.

Pure. Maps are merged, lists are joined, commands and health tests are replaced, `!reset` removes and
`!override` replaces. Short forms are expanded first, so that a list can be merged with a map.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from cli.compose.errors import ComposeError
from cli.compose.ports import port_of
from cli.compose.tree import Mapping, MappingEntry, Node, Scalar, Sequence, is_null

# Lists that are a unit and are never joined.
_REPLACED: Final = frozenset({"command", "entrypoint", "test"})
# Keys that take a list of NAME=value or a map, and keys that take a list of names or a map.
_PAIRS: Final = frozenset({"environment", "labels", "annotations"})
_NAMES: Final = frozenset({"depends_on", "networks"})
_ONE_OR_MORE: Final = frozenset({"env_file", "ports", "expose", "dns", "tmpfs", "profiles"})


def canonical(body: Mapping, file: str) -> Mapping:
    """Return a service's description in canonical form, with its env files relative to the folder of `file`."""
    entries = dict(body.entries)
    for key, entry in body.entries.items():
        node = entry.node
        if key in _PAIRS and isinstance(node, Sequence):
            entries[key] = MappingEntry(entry.place, _pairs(node))
        elif key in _NAMES and isinstance(node, Sequence):
            entries[key] = MappingEntry(entry.place, _names(node))
        elif key in _ONE_OR_MORE and not isinstance(node, Sequence) and not is_null(node):
            entries[key] = MappingEntry(entry.place, Sequence((node,), node.place, node.tag))
        elif key == "build" and isinstance(node, Scalar) and not node.null:
            entries[key] = MappingEntry(entry.place, Mapping({"context": MappingEntry(node.place, node)}, node.place))
    if "env_file" in entries:
        entry = entries["env_file"]
        entries["env_file"] = MappingEntry(entry.place, _under(entry.node, os.path.dirname(file)))  # noqa: PTH120 - pure text
    return Mapping(entries, body.place, body.tag)


def _pairs(node: Sequence) -> Mapping:
    entries: dict[str, MappingEntry] = {}
    for item in node.items:
        if not isinstance(item, Scalar) or item.null:
            continue
        name, sign, value = item.text.partition("=")
        raw = item.raw.partition("=")[2]
        # The last one counts, at its own place.
        entries.pop(name, None)
        entries[name] = MappingEntry(item.place, Scalar(value, item.place, raw, null=not sign, unset=item.unset))
    return Mapping(entries, node.place, node.tag)


def _names(node: Sequence) -> Mapping:
    names = [item for item in node.items if isinstance(item, Scalar) and not item.null]
    return Mapping(
        {n.text: MappingEntry(n.place, Scalar("", n.place, "", null=True)) for n in names}, node.place, node.tag
    )


def _under(node: Node, folder: str) -> Node:
    """Return the paths of `env_file` as they will be opened."""
    if not isinstance(node, Sequence):
        return node
    items: list[Node] = []
    for item in node.items:
        if isinstance(item, Scalar) and not item.null:
            items.append(_joined(item, folder))
        elif isinstance(item, Mapping) and isinstance(path := item.get("path"), Scalar):
            entries = {**item.entries, "path": MappingEntry(item.place_of("path"), _joined(path, folder))}
            items.append(Mapping(entries, item.place, item.tag))
    return Sequence(tuple(items), node.place, node.tag)


def _joined(path: Scalar, folder: str) -> Scalar:
    return Scalar(os.path.join(folder, path.text), path.place, path.raw)  # noqa: PTH118 - pure text


def merged(base: Node, over: Node, key: str = "", within: str = "") -> Node | None:
    """Return `over` merged over `base`, both canonical; None when `!reset` removes it."""
    if over.tag == "!reset":
        return None
    if over.tag == "!override":
        return over
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        entries = dict(base.entries)
        for name, entry in over.entries.items():
            below = entries.get(name)
            node = entry.node if below is None else merged(below.node, entry.node, name, key)
            if node is None or entry.node.tag == "!reset":
                entries.pop(name, None)
            else:
                entries[name] = MappingEntry(entry.place, node)
        return Mapping(entries, over.place)
    if isinstance(base, Sequence) and isinstance(over, Sequence) and key not in _REPLACED:
        return Sequence(_joined_lists(base, over, key), over.place)
    if is_null(over) and within not in _PAIRS:
        return base
    return over


def _joined_lists(base: Sequence, over: Sequence, key: str) -> tuple[Node, ...]:
    """Return the lists concatenated, each item once, at its last position."""
    found: dict[object, Node] = {}
    for item in (*base.items, *over.items):
        identity: object = id(item)
        if isinstance(item, Scalar):
            identity = item.text
        if key == "ports":
            with contextlib.suppress(ComposeError):
                identity = port_of(item).key
        found[identity] = item
    return tuple(found.values())
