"""Composes YAML text into PyYAML's nodes: all documents of a file, each scalar but null and `<<` as text.

Pure. An anchor may be defined anew, as YAML 1.2 says (section 3.2.2.2): an alias means the last one before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml
import yaml.composer

from cli.compose.errors import ComposeError, Place

MAX_DOCUMENTS: Final = 100
MERGE: Final = "tag:yaml.org,2002:merge"
NULL: Final = "tag:yaml.org,2002:null"
_KEPT_TAGS: Final = frozenset({MERGE, NULL})
_ANCHOR_TWICE: Final = "second occurrence"

if TYPE_CHECKING:
    _Base = yaml.SafeLoader
else:  # the C loader is ten times as fast, if PyYAML was built with it
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """A safe loader that resolves null and `<<` only; everything else stays text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT_TAGS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


# PyYAML's types know nothing of the pure composer over the C parser.
_PureComposer: Any = yaml.composer.Composer
_AnyLoader: Any = _Loader


class _RedefiningLoader(_PureComposer, _AnyLoader):  # type: ignore[misc]  # see above
    """The same, for files that define an anchor anew, which PyYAML's composers refuse."""

    def __init__(self, text: str) -> None:
        _AnyLoader.__init__(self, text)
        _PureComposer.__init__(self)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if not self.check_event(yaml.AliasEvent):
            self.anchors.pop(self.peek_event().anchor, None)
        return super().compose_node(parent, index)


def nodes_of(raw: bytes, file: str) -> list[yaml.Node]:
    """Return the root of each document of a YAML file. Raises ComposeError."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ComposeError("it is not UTF-8 text", code="not-yaml", place=Place(file, line)) from None
    try:
        try:
            return _composed(_Loader(text), file)
        except yaml.composer.ComposerError as error:
            if error.problem != _ANCHOR_TWICE:
                raise
            return _composed(_RedefiningLoader(text), file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        reason = f"it is not YAML: {error.problem or error.context}"
        raise ComposeError(reason, code="not-yaml", place=Place(file, line)) from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = error.reason if isinstance(error, yaml.reader.ReaderError) else "it has a value that cannot be read"
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else reason
        raise ComposeError(f"it is not YAML: {reason}", code="not-yaml", place=Place(file)) from None


def _composed(loader: Any, file: str) -> list[yaml.Node]:
    nodes: list[yaml.Node] = []
    try:
        while loader.check_node():
            if len(nodes) == MAX_DOCUMENTS:
                reason = f"it has more than {MAX_DOCUMENTS} documents"
                raise ComposeError(reason, code="too-large", place=Place(file))
            nodes.append(loader.get_node())
    finally:
        loader.dispose()
    return nodes


def named_in(root: yaml.Node) -> str:
    """Return the `name` at the top of a document, empty without one."""
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    names = [value.value for key, value in pairs if key.value == "name" and isinstance(value, yaml.ScalarNode)]
    return str(names[-1]) if names and pairs else ""
