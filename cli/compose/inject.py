"""Inserts sidecars into a compose file, or writes them as an override file, and removes them again.

Pure: text in, text out. Every result is parsed again and compared with what is expected: the original file plus the
sidecars, and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from typing import Any, Final

import msgspec

from cli.compose import splice
from cli.compose.errors import ComposeError
from cli.compose.outline import NotEditable, Outline, Shape, Spot, outline_of
from cli.compose.registry_service import registry_entries
from cli.compose.sidecars import (
    CONFIG,
    LABEL,
    SHARED,
    Additions,
    Options,
    Recipe,
    SidecarSpec,
    additions,
    shared_entries,
)
from cli.compose.tree import Mapping, Node, Scalar, documents_of, tree_of
from cli.compose.yaml_nodes import nodes_of
from cli.terminal import masked

# The first words of a file that we wrote, and may therefore overwrite.
MADE: Final = "# Made by `vertice compose inject`"
_ANCHORS: Final = ("vertice-agent", "vertice-agent-environment")
# What is added to the services themselves.
_ENTRIES: Final = ("dns", "sysctls")
_Written = Any  # texts, lists and maps as in the file; None for nothing


class NotTheSame(NotEditable):
    """Raised when an edited text is not as expected; it is discarded."""


def injected(text: str, sidecars: list[SidecarSpec], options: Options) -> str:
    """Return a compose file's text with these sidecars and no others. Raises NotEditable and ComposeError."""
    base = ejected(text)
    if not sidecars:
        return base
    options = _with_own_config(base, options)
    outline = outline_of(base)
    anchors = options.recipe is not Recipe.HOST and _may_anchor(outline)
    edited = splice.applied(base, list(_edits(outline, _additions(sidecars, options, anchors=anchors), options)))
    _check(edited, _expected(base, _additions(sidecars, options, anchors=False), options, shared=anchors), base)
    if splice.taken_out(edited) != base:
        raise NotTheSame("the inserted agents could not be removed again")
    return edited


def ejected(text: str) -> str:
    """Return a compose file's text without sidecars of ours. Raises NotEditable and ComposeError."""
    base = splice.taken_out(text)
    if base == text:
        return text
    before, after = as_written(text), as_written(base)
    services = before.get("services")
    kept = after.get("services")
    if not isinstance(services, dict) or not isinstance(kept, dict):
        raise NotTheSame("without the agents there would be no `services`")
    for name, body in list(services.items()):
        if name not in kept and isinstance(body, dict) and _is_ours(body):
            del services[name]
        elif isinstance(body, dict) and _is_ours(body) and not _is_ours(kept[name]):
            services[name] = kept[name]  # written twice, by a release that did not look whether the name was free
        elif isinstance(body, dict) and isinstance(kept.get(name), dict):
            for key in _ENTRIES:
                if key not in kept[name]:
                    body.pop(key, None)
    for key in (SHARED, "configs"):
        _without_ours(before, after, key)
    _compare(after, before, ())
    return base


def override_text(sidecars: list[SidecarSpec], options: Options, name: str, output: str, base: str = "") -> str:
    """Return an override file for the compose file called `name` with the text `base`, to be written to `output`.

    Raises NotTheSame when it would not parse as intended.
    """
    options = _with_own_config(base, options)
    added = _additions(sidecars, options, anchors=True)
    lines = [
        f"{MADE} from {masked(name)}, recipe {options.recipe.value}; overwritten each time: do not edit.",
        f"#   docker compose -f {masked(name)} -f {masked(output)} up -d",
        *splice.written(added.top),
    ]
    for key in added.entries.keys() & added.services.keys():
        raise NotTheSame(f"the agent {key} would have the name of a service")
    services = {**added.entries, **added.services}
    lines += splice.written({"services": services}) if services else ["services: {}"]
    if added.configs:
        lines += splice.written({"configs": added.configs})
    text = "\n".join(lines) + "\n"
    _check(text, _override_expected(sidecars, options))
    return text


def _additions(sidecars: list[SidecarSpec], options: Options, *, anchors: bool) -> Additions:
    """Return the additions for these sidecars, and the registry if one is to be added."""
    added = additions(sidecars, options, anchors=anchors)
    return msgspec.structs.replace(added, services={**registry_entries(sidecars, options), **added.services})


def _override_expected(sidecars: list[SidecarSpec], options: Options) -> dict[str, Any]:
    added = _additions(sidecars, options, anchors=False)
    found: dict[str, Any] = {"services": {**_texts(added.entries), **_texts(added.services)}}
    if options.recipe is not Recipe.HOST:
        found.update(_texts(shared_entries(options)))
    if added.configs:
        found["configs"] = _texts(added.configs)
    return found


def _with_own_config(base: str, options: Options) -> Options:
    """Return the options with a name in `configs` that the file does not use."""
    if options.recipe is not Recipe.HOST or not base:
        return options
    problems: list[ComposeError] = []
    documents = documents_of(nodes_of(base.encode(), ""), "", {}, problems.append)
    configs = [document.root.get("configs") for document in documents]
    taken = {name for given in configs if isinstance(given, Mapping) for name in given.entries}
    names = itertools.chain([CONFIG], (f"{CONFIG}-{number}" for number in itertools.count(2)))
    return msgspec.structs.replace(options, config=next(name for name in names if name not in taken))


# -- the edits


def _may_anchor(outline: Outline) -> bool:
    """Return whether the sidecars' shared part can go before `services`, under an unused anchor."""
    key = outline.root.pair("services")
    if outline.root.is_flow or key is None or key[1].shape is not Shape.MAPPING or key[1].is_flow:
        return False
    return outline.root.pair(SHARED) is None and not any(name in outline.anchors for name in _ANCHORS)


def _edits(outline: Outline, added: Additions, options: Options) -> Iterator[splice.Edit]:
    text, note = outline.text, options.recipe.value
    key = outline.root.pair("services")
    services = outline.followed(key[1]) if key is not None else None
    if key is None or services is None or services.shape is not Shape.MAPPING:
        raise NotEditable("it has no `services`")
    if added.top:
        yield splice.entries_before(text, key[0], added.top, note)
    if added.configs:
        yield _configs(outline, key[0], added.configs, note)
    done: set[int] = set()
    bodies = {key.value: value for key, value in services.pairs if key.shape is Shape.SCALAR}
    for name, entries in added.entries.items():
        body = outline.followed(bodies.get(name))
        if body is None or body.shape is not Shape.MAPPING:
            raise NotEditable(f"{name} is not written as a map")
        if body.start not in done:
            done.add(body.start)
            for entry, value in entries.items():
                yield splice.entry_line(text, body, entry, value)
    yield splice.entries_at_end(text, services, added.services, note)


def _configs(outline: Outline, services: Spot, configs: MappingType[str, Any], note: str) -> splice.Edit:
    found = outline.root.value_of("configs")
    if found is not None and found.shape is Shape.MAPPING:
        return splice.entries_at_end(outline.text, found, configs, note)
    if outline.root.is_flow:
        return splice.entries_at_end(outline.text, outline.root, {"configs": configs}, note)
    return splice.entries_before(outline.text, services, {"configs": configs}, note)


# -- the expected result


def as_written(text: str) -> dict[str, Any]:
    """Return a file's values as written, with aliases expanded and variables not filled in.

    Of a key that stands twice the last one counts. Raises ComposeError.
    """
    return _parsed(text)[0]


def _parsed(text: str) -> tuple[dict[str, Any], list[str]]:
    """Return a file's values as written, and the keys that stand twice."""
    problems: list[ComposeError] = []
    tree = tree_of(text.encode(), "", {}, problems.append)
    found = _written(tree)
    repeated = [problem.field or "" for problem in problems if problem.code == "duplicate-key"]
    return found if isinstance(found, dict) else {}, repeated


def _written(node: Node) -> _Written:
    match node:
        case Scalar():
            return None if node.null else node.raw
        case Mapping():
            return {key: _written(entry.node) for key, entry in node.entries.items()}
        case _:
            return [_written(item) for item in node.items]


def _expected(base: str, added: Additions, options: Options, *, shared: bool) -> dict[str, Any]:
    found = as_written(base)
    services = found["services"]
    for name, entries in added.entries.items():
        services[name] = {**services[name], **_texts(entries)}
    services.update(_texts(added.services))
    if shared:
        found.update(_texts(shared_entries(options)))
    if added.configs:
        found["configs"] = {**(found.get("configs") or {}), **_texts(added.configs)}
    return found


def _texts(value: Any) -> _Written:
    """Return values as they parse after being written: every scalar is text."""
    match value:
        case splice.Anchored():
            return _texts(value.value)
        case dict():
            return {key: _texts(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_texts(item) for item in value]
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _check(edited: str, expected: dict[str, Any], base: str = "{}") -> None:
    try:
        found, repeated = _parsed(edited)
    except ComposeError as error:
        raise NotTheSame(f"the edited text is not readable: {error.message}", error.place.line) from None
    if len(repeated) > len(_parsed(base)[1]):
        raise NotTheSame(f"{repeated[-1]} would stand twice")
    _compare(found, expected, ())


def _compare(found: _Written, expected: _Written, path: tuple[str, ...]) -> None:
    """Raise NotTheSame, naming the first value that differs."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            if key not in found or key not in expected:
                _refuse((*path, key))
            _compare(found[key], expected[key], (*path, key))
    elif found != expected:
        _refuse(path)


def _refuse(path: tuple[str, ...]) -> None:
    where = ".".join(path) or "the whole"
    raise NotTheSame(f"{where} would change as well, because of an alias or an anchor that others use")


def _is_ours(body: _Written) -> bool:
    labels = body.get("labels") if isinstance(body, dict) else None
    return isinstance(labels, dict) and LABEL in labels


def _without_ours(before: dict[str, Any], after: dict[str, Any], key: str) -> None:
    """Remove from `before` what the removal took out below `key`: all of it, or some of its entries."""
    if key in before and key not in after:
        del before[key]
    elif isinstance(before.get(key), dict) and isinstance(after.get(key), dict):
        before[key] = {name: value for name, value in before[key].items() if name in after[key]}
