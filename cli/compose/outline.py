"""The outline of a YAML text: the position of each node, for editing the text.

Pure. It has positions only; the reader handles values. Every parser event is kept, so that an alias is found where
it is written, not where its anchor is.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import yaml

from registry_core.errors import CallerError

if TYPE_CHECKING:
    _Parser = yaml.SafeLoader
else:  # the C parser, ten times as fast, where PyYAML was built with it
    _Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # the line ends of YAML 1.1
_BREAKS: Final = frozenset("\n\r\x85\u2028\u2029")


class NotEditable(CallerError):
    """Raised when a text cannot be edited at the required place; `line` counts from 1, 0 means unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class Shape(enum.Enum):
    """The kind of a node."""

    SCALAR = "scalar"
    MAPPING = "mapping"
    SEQUENCE = "sequence"
    ALIAS = "alias"


class Spot(msgspec.Struct):
    """One node and its position: `text[start:end]`, in characters.

    For a block collection `end` is the end of its last item, before any comments. `inside` is where the first item
    of a flow collection goes. `value` is the text of a scalar, or the name of an alias.
    """

    shape: Shape
    start: int
    end: int
    value: str = ""
    style: str = ""
    is_flow: bool = False
    inside: int = 0
    items: list[Spot] = []

    @property
    def pairs(self) -> list[tuple[Spot, Spot]]:
        """The keys of a mapping, each with its value."""
        return list(zip(self.items[::2], self.items[1::2], strict=False)) if self.shape is Shape.MAPPING else []

    def pair(self, key: str) -> tuple[Spot, Spot] | None:
        """Return the key and the value of `key`; of several, the last, which counts."""
        found = [pair for pair in self.pairs if pair[0].shape is Shape.SCALAR and pair[0].value == key]
        return found[-1] if found else None

    def value_of(self, key: str) -> Spot | None:
        """Return the value of `key`, or None."""
        found = self.pair(key)
        return found[1] if found else None


class Outline(msgspec.Struct):
    """A text with the root of its one document, its anchors (the last of each name), and what its aliases mean."""

    text: str
    root: Spot
    anchors: dict[str, Spot]
    # By the start of the alias: an anchor may be defined anew, and an alias means the last one before it.
    targets: dict[int, Spot] = {}

    def followed(self, spot: Spot | None) -> Spot | None:
        """Return the node that an alias refers to, or `spot` itself for any other node."""
        return self.targets.get(spot.start) if spot is not None and spot.shape is Shape.ALIAS else spot


def outline_of(text: str) -> Outline:
    """Return the outline of a text with one document. Raises NotEditable if it has none or several, or is not YAML."""
    root: Spot | None = None
    anchors: dict[str, Spot] = {}
    targets: dict[int, Spot] = {}
    open_spots: list[Spot] = []
    try:
        for event in yaml.parse(text, Loader=_Parser):
            match event:
                case yaml.ScalarEvent() | yaml.AliasEvent() | yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    spot = _spot_of(event)
                    if open_spots:
                        open_spots[-1].items.append(spot)
                    elif root is not None:
                        raise NotEditable("it has more than one document", _line(event))
                    else:
                        root = spot
                    _note_anchor(event, spot, anchors, targets)
                    if isinstance(event, yaml.CollectionStartEvent):
                        open_spots.append(spot)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    spot = open_spots.pop()
                    spot.end = (
                        _index(event.end_mark) if spot.is_flow else max([spot.end, *(i.end for i in spot.items[-2:])])
                    )
                case _:
                    pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        raise NotEditable(f"it is not YAML: {error.problem or error.context}", line) from None
    except yaml.YAMLError:
        raise NotEditable("it is not YAML: it has a character that YAML does not allow") from None
    if root is None:
        raise NotEditable("it is empty")
    return Outline(text, root, anchors, targets)


def _note_anchor(event: yaml.NodeEvent, spot: Spot, anchors: dict[str, Spot], targets: dict[int, Spot]) -> None:
    if event.anchor is None:
        return
    if not isinstance(event, yaml.AliasEvent):
        anchors[event.anchor] = spot
    elif event.anchor in anchors:
        targets[spot.start] = anchors[event.anchor]


def _spot_of(event: yaml.NodeEvent) -> Spot:
    start, end = _index(event.start_mark), _index(event.end_mark)
    match event:
        case yaml.ScalarEvent():
            return Spot(Shape.SCALAR, start, end, event.value, event.style or "")
        case yaml.AliasEvent():
            return Spot(Shape.ALIAS, start, end, event.anchor or "")
        case yaml.CollectionStartEvent():
            shape = Shape.MAPPING if isinstance(event, yaml.MappingStartEvent) else Shape.SEQUENCE
            is_flow = bool(event.flow_style)
            return Spot(shape, start, end if is_flow else start, is_flow=is_flow, inside=end)
        case _:
            raise NotEditable("it has a node of an unknown kind", _line(event))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 0


def _index(mark: Any) -> int:
    # PyYAML's types allow None, but every parser event has both marks.
    return int(mark.index)


def line_start(text: str, at: int) -> int:
    """Return the start of the line that contains `at`."""
    while at > 0 and text[at - 1] not in _BREAKS:
        at -= 1
    return at


def line_of(text: str, at: int) -> int:
    """Return the number of the line that contains `at`, from 1."""
    return sum(1 for _ in BREAK.finditer(text, 0, at)) + 1
