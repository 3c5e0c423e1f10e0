"""Merges one service's description over another, as Compose does for several files, `include` and `extends`.

Pure. Maps are merged, lists are joined, commands and health tests are replaced. Short forms are expanded first, so
that a list can be merged with a map.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from cli.compose.errors import ComposeError, Place
from cli.compose.ports import port_of
from cli.compose.tree import Mapping, MappingEntry, Node, Resets, Scalar, Sequence, is_null, plain
from cli.compose.yaml_values import as_passed_on

# Values that are a unit and are never joined, each with the key that it is within.
_REPLACED: Final = frozenset({("", "command"), ("", "entrypoint"), ("healthcheck", "test")})
# Lists and maps that Compose does not merge with anything else. What nobody reads here is not judged.
_STRICT: Final = frozenset({"ports", "expose", "profiles", "links", "external_links", "healthcheck", "deploy"})
# Lists in which two entries are one when they agree up to the first `=`.
_KEYED: Final = frozenset({"links", "profiles", "aliases", "dns"})
# Keys that take a list of NAME=value or a map, and keys that take a list of names or a map.
PAIRS: Final = frozenset({"environment", "labels", "annotations"})
_NAMES: Final = frozenset({"depends_on", "networks"})
_FILES: Final = frozenset({"env_file", "label_file"})
_ONE_OR_MORE: Final = frozenset({"env_file", "label_file", "ports", "expose", "dns", "tmpfs", "profiles"})


def canonical(body: Mapping, folder: str) -> Mapping:
    """Return a service's description in canonical form; files and build contexts are in `folder`."""
    entries = dict(body.entries)
    for key, entry in body.entries.items():
        node = entry.node
        if key in PAIRS:
            entries[key] = MappingEntry(entry.place, _pairs(node))
        elif key in _NAMES and isinstance(node, Sequence):
            entries[key] = MappingEntry(entry.place, _names(node, key))
        elif key in _ONE_OR_MORE and not isinstance(node, Sequence) and not is_null(node):
            entries[key] = MappingEntry(entry.place, Sequence((node,), node.place))
        elif key == "extra_hosts" and isinstance(node, Mapping):
            entries[key] = MappingEntry(entry.place, _hosts(node))
        elif key == "build":
            entries[key] = MappingEntry(entry.place, _build(node, folder))
    for key in _FILES & entries.keys():
        entry = entries[key]
        entries[key] = MappingEntry(entry.place, _under(entry.node, folder))
    return Mapping(entries, body.place)


def _pairs(node: Node) -> Node:
    """Return NAME=value pairs as a map, and numbers as the container gets them."""
    if isinstance(node, Mapping):
        entries = {key: MappingEntry(entry.place, _passed_on(entry.node)) for key, entry in node.entries.items()}
        return Mapping(entries, node.place, node.listed)
    if not isinstance(node, Sequence):
        return node
    listed: dict[str, MappingEntry] = {}
    for item in node.items:
        if not isinstance(item, Scalar) or item.null:
            continue
        name, sign, value = item.text.partition("=")
        raw = item.raw.partition("=")[2]
        # The last one counts, at its own place.
        listed.pop(name, None)
        listed[name] = MappingEntry(item.place, Scalar(value, item.place, raw, null=not sign, unset=item.unset))
    return Mapping(listed, node.place, listed=True)


def _passed_on(node: Node) -> Node:
    if not isinstance(node, Scalar) or not node.plain or node.null:
        return node
    text = as_passed_on(node.text)
    return node if text == node.text else Scalar(text, node.place, node.raw)


def _names(node: Sequence, key: str) -> Mapping:
    found: dict[str, MappingEntry] = {}
    for item in node.items:
        if isinstance(item, Scalar) and not item.null:
            nothing = Scalar("", item.place, "", null=True)
            found[item.text] = MappingEntry(item.place, nothing if key == "networks" else _started(item.place))
    return Mapping(found, node.place)


def _started(place: Place) -> Mapping:
    """Return what a name in a list of `depends_on` says, and says again over a longer form in an earlier file."""
    words = {"condition": "service_started", "required": "true"}
    return Mapping({key: MappingEntry(place, Scalar(word, place, word)) for key, word in words.items()}, place)


def _hosts(node: Mapping) -> Sequence:
    items: list[Node] = []
    for name, entry in node.entries.items():
        addresses = entry.node.items if isinstance(entry.node, Sequence) else (entry.node,)
        for address in addresses:
            text = f"{name}={address.text if isinstance(address, Scalar) else plain(address)}"
            items.append(Scalar(text, entry.place, text))
    return Sequence(tuple(items), node.place)


def _under(node: Node, folder: str) -> Node:
    """Return the paths of `env_file` and `label_file` as they will be opened."""
    if not isinstance(node, Sequence):
        return node
    items: list[Node] = []
    for item in node.items:
        if isinstance(item, Scalar) and not item.null:
            items.append(_joined(item, folder))
        elif isinstance(item, Mapping) and isinstance(path := item.get("path"), Scalar):
            entries = {**item.entries, "path": MappingEntry(item.place_of("path"), _joined(path, folder))}
            items.append(Mapping(entries, item.place))
    return Sequence(tuple(items), node.place)


def _build(node: Node, folder: str) -> Node:
    """Return how an image is built, with the folder as it will be opened; what is fetched stays as it is."""
    if isinstance(node, Scalar) and not node.null:
        node = Mapping({"context": MappingEntry(node.place, node)}, node.place)
    context = node.get("context") if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or not isinstance(context, Scalar) or is_fetched(context.text):
        return node
    entry = MappingEntry(node.place_of("context"), _joined(context, folder))
    return Mapping({**node.entries, "context": entry}, node.place)


def is_fetched(context: str) -> bool:
    """Return whether a build context is a repository or an image rather than a folder."""
    return "://" in context or context.startswith(("git@", "docker-image:", "github.com/"))


def _joined(path: Scalar, folder: str) -> Scalar:
    return Scalar(os.path.normpath(os.path.join(folder, path.text)), path.place, path.raw)  # noqa: PTH118 - pure text


def without(node: Node, resets: Resets, prefix: tuple[str, ...]) -> Node:
    """Return what `!reset` and `!override` of a later document leave of the parts of `node`, which is at `prefix`."""
    below = resets.get(prefix, set()) - {()}
    return _without(node, below) if below else node


def _without(node: Node, below: set[tuple[str, ...]]) -> Node:
    # To Compose a list has no keys, also where a map says the same.
    if not isinstance(node, Mapping) or node.listed:
        return node
    entries = dict(node.entries)
    for key in {path[0] for path in below} & entries.keys():
        if (key,) in below:
            del entries[key]
        else:
            deeper = {path[1:] for path in below if path[0] == key}
            entries[key] = MappingEntry(entries[key].place, _without(entries[key].node, deeper))
    return Mapping(entries, node.place)


def merged(base: Node, over: Node, key: str = "", within: str = "") -> Node:
    """Return `over` merged over `base`, both canonical. Raises ComposeError when one is a map and the other is not."""
    if (within, key) in _REPLACED:
        return over
    if is_null(over) and within not in PAIRS:
        return base
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        entries = dict(base.entries)
        for name, entry in over.entries.items():
            below = entries.get(name)
            node = entry.node if below is None else merged(below.node, entry.node, name, key)
            entries[name] = MappingEntry(entry.place, node)
        return Mapping(entries, over.place, listed=key in PAIRS)
    if isinstance(base, Sequence) and isinstance(over, Sequence):
        return Sequence(_joined_lists(base, over, key), over.place)
    if not isinstance(base, Scalar) and not within and key in _STRICT:
        kind, other = _kind(over), _kind(base)
        reason = f"{key} is a {kind} here and a {other} in {base.place}; Compose cannot merge them"
        raise ComposeError(reason, code="merge", place=over.place, field=key)
    return over


def _kind(node: Node) -> str:
    return "map" if isinstance(node, Mapping) else "list" if isinstance(node, Sequence) else "text"


def _joined_lists(base: Sequence, over: Sequence, key: str) -> tuple[Node, ...]:
    """Return the lists concatenated, each item once: the last one, where the first one stands."""
    found: dict[object, Node] = {}
    for item in (*base.items, *over.items):
        found[_identity(item, key)] = item
    return tuple(found.values())


def _identity(item: Node, key: str) -> object:
    if key == "ports":
        with contextlib.suppress(ComposeError):
            return port_of(item).key
    if key == "env_file" and isinstance(item, Mapping) and isinstance(path := item.get("path"), Scalar):
        return path.text
    if not isinstance(item, Scalar):
        return repr(plain(item))
    return item.text.partition("=")[0] if key in _KEYED else item.text
