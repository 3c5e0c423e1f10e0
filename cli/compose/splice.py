"""Inserts entries into a YAML text and removes them again, and changes nothing else.

Pure: text in, text out. An insertion is enclosed by two comment lines, or is one line that ends in a comment, so that
`taken_out` finds it without knowing its content. Every byte around it stays: comments, order, anchors, quotes,
line endings, the end of the last line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from cli.compose.outline import BREAK, NotEditable, Shape, Spot, line_of, line_start

WORD: Final = "vertice compose inject"
# Marks an insertion that broke a line: removing it also removes the breaks around it and the blanks after it.
_WITHIN: Final = ", within a line"
# Marks an insertion after a last line without a line break: removing it also removes the break before it.
_AFTER: Final = ", after the last line"
_BEGIN: Final = re.compile(rf"[ ]*# >>> {WORD}[^\r\n]*")
_END: Final = re.compile(rf"(?P<indent>[ ]*)# <<< {WORD}")
_LINE: Final = re.compile(rf"[ ]*[^\s#][^\r\n]*  # {WORD}")
# Unquoted text that YAML 1.1 and 1.2 both read verbatim, in any position.
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*", re.ASCII)
_WORDS_OF_YAML: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


class Edit(msgspec.Struct, frozen=True):
    """Replaces `text[start:end]` by `new`."""

    start: int
    end: int
    new: str


class Anchored(msgspec.Struct, frozen=True):
    """A value with an anchor, or, without a value, an alias of that anchor."""

    anchor: str
    value: Any = None


def applied(text: str, edits: Sequence[Edit]) -> str:
    """Return the text after all edits. They must not overlap; edits at the same place keep their order."""
    parts: list[str] = []
    at = 0
    for edit in sorted(edits, key=lambda e: (e.start, e.end)):
        parts += (text[at : edit.start], edit.new)
        at = edit.end
    return "".join((*parts, text[at:]))


# -- inserting


def entry_line(text: str, mapping: Spot, key: str, value: Any) -> Edit:
    """Return the edit that inserts one short entry at the start of a mapping. Raises NotEditable."""
    if mapping.is_flow:
        return _within(text, mapping, {key: value}, "")
    start, indent = _first_line(text, mapping)
    return Edit(start, start, f"{' ' * indent}{key}: {_inline(value)}  # {WORD}{newline_of(text, start)}")


def entries_before(text: str, key: Spot, entries: Mapping[str, Any], note: str) -> Edit:
    """Return the edit that inserts entries before the line of a block mapping's key. Raises NotEditable."""
    start, indent = _own_line(text, key)
    return Edit(start, start, _block(entries, indent, newline_of(text, start), note))


def entries_at_end(text: str, mapping: Spot, entries: Mapping[str, Any], note: str) -> Edit:
    """Return the edit that inserts entries at the end of a mapping, or at its start if the end is impossible.

    Raises NotEditable when neither is possible.
    """
    if mapping.is_flow:
        return _within(text, mapping, entries, note)
    start, indent = _first_line(text, mapping)
    newline = newline_of(text, start)
    last = _last(mapping)
    at = _next_line(text, mapping.end)
    if at is not None:
        at = _after_comments(text, at, indent)
        return Edit(at, at, _block(entries, indent, newline, note))
    if last.shape is Shape.SCALAR and last.style in ("|", ">"):
        # A line break after it would become part of the scalar's text.
        return Edit(start, start, _block(entries, indent, newline, note))
    block = _block(entries, indent, newline, note + _AFTER)
    return Edit(len(text), len(text), newline + block.removesuffix(newline))


def newline_of(text: str, at: int) -> str:
    """Return the line ending around `at`: that of the line before, or else of the first line after."""
    found = re.compile("\r\n|\n|\r").search(text, max(line_start(text, max(at - 1, 0)) - 2, 0))
    return found[0] if found else "\n"


def _first_line(text: str, mapping: Spot) -> tuple[int, int]:
    if not mapping.items:
        raise NotEditable("it is empty, so that nothing can be added", line_of(text, mapping.start))
    return _own_line(text, mapping.items[0])


def _own_line(text: str, key: Spot) -> tuple[int, int]:
    start = line_start(text, key.start)
    before = text[start : key.start]
    if before.strip(" ") not in ("", "?"):  # `? key` is the long form of a key
        raise NotEditable("its first entry does not start a line", line_of(text, key.start))
    return start, before.index("?") if "?" in before else len(before)


def _last(spot: Spot) -> Spot:
    while spot.items and not spot.is_flow:
        spot = spot.items[-1]
    return spot


def _next_line(text: str, at: int) -> int | None:
    """Return where the next line begins: `at` itself at a line's start, None on a last line without a line break."""
    if at and line_start(text, at) == at:
        return at
    found = BREAK.search(text, at)
    return found.end() if found else None


def _after_comments(text: str, at: int, indent: int) -> int:
    """Return the offset after the comments indented more than `indent`, which belong to the preceding entry."""
    end = at
    while at < len(text):
        found = BREAK.search(text, at)
        stop, following = (found.start(), found.end()) if found else (len(text), len(text))
        line = text[at:stop]
        content = line.lstrip(" \t")
        if content.startswith("#"):
            if len(line) - len(content) <= indent or found is None:
                break
            end = following
        elif content:
            break
        at = following
    return end


def _within(text: str, mapping: Spot, entries: Mapping[str, Any], note: str) -> Edit:
    if not mapping.items:
        raise NotEditable("it is empty, so that nothing can be added", line_of(text, mapping.start))
    start = line_start(text, mapping.start)
    # More than any enclosing block, as YAML requires of the lines of a flow collection.
    indent = len(text[start:]) - len(text[start:].lstrip(" ")) + 4
    newline, blanks = newline_of(text, mapping.inside), " " * indent
    lines = "".join(f"{blanks}{json.dumps(key)}: {_flow(value)},{newline}" for key, value in entries.items())
    begin, end = f"{blanks}# >>> {_titled(note)}{_WITHIN}{newline}", f"{blanks}# <<< {WORD}{newline}"
    return Edit(mapping.inside, mapping.inside, f"{newline}{begin}{lines}{end}{blanks}")


def _titled(note: str) -> str:
    return f"{WORD}: {note}" if note else WORD


def _block(entries: Mapping[str, Any], indent: int, newline: str, note: str) -> str:
    lines = (f"# >>> {_titled(note)}", *written(entries), f"# <<< {WORD}")
    return "".join(f"{' ' * indent}{line}{newline}" for line in lines)


# -- removing


def taken_out(text: str) -> str:
    """Return the text without the insertions. Raises NotEditable when a mark has lost its counterpart."""
    kept: list[str] = []
    at = 0
    lines = _Lines(text)
    while at < len(text):
        line, following = lines.at(at)
        if _BEGIN.fullmatch(line):
            end, indent = lines.end_of_block(at)
            if line.endswith(_WITHIN):
                _drop_break(kept)
                end += indent if text.startswith(" " * indent, end) else 0
            elif line.endswith(_AFTER) and not text[end:].strip():
                _drop_break(kept)
            at = end
        elif _END.fullmatch(line):
            raise NotEditable("an end mark has no start mark", line_of(text, at))
        else:
            if not _LINE.fullmatch(line):
                kept.append(text[at:following])
            at = following
    return "".join(kept)


class _Lines:
    """The lines of a text, each with the offset of the next one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._break = re.compile("\r\n|\n|\r")

    def at(self, start: int) -> tuple[str, int]:
        found = self._break.search(self._text, start)
        return (self._text[start : found.start()], found.end()) if found else (self._text[start:], len(self._text))

    def end_of_block(self, begin: int) -> tuple[int, int]:
        """Return where the block that begins at `begin` ends, and the indentation of its end mark."""
        _, at = self.at(begin)
        while at < len(self._text):
            line, following = self.at(at)
            ending = _END.fullmatch(line)
            if ending is not None:
                return following, len(ending["indent"])
            if _BEGIN.fullmatch(line):
                break
            at = following
        raise NotEditable("a start mark has no end mark", line_of(self._text, begin))


def _drop_break(kept: list[str]) -> None:
    if kept:
        line = kept.pop()
        kept.append(re.sub("(?:\r\n|\n|\r)\\Z", "", line))


# -- writing values


def written(entries: Mapping[str, Any], depth: int = 0) -> list[str]:
    """Return entries as the lines of a block mapping, indented by two blanks per level."""
    lines: list[str] = []
    for key, given in entries.items():
        anchor, value = (f" &{given.anchor}", given.value) if isinstance(given, Anchored) else ("", given)
        before = f"{'  ' * depth}{_scalar(key) if key != '<<' else key}:"
        if isinstance(given, Anchored) and value is None:
            lines.append(f"{before} *{given.anchor}")
        elif isinstance(value, Mapping) and value:
            lines.append(before + anchor)
            lines += written(value, depth + 1)
        elif isinstance(value, str) and "\n" in value:
            lines.append(f"{before}{anchor} |")
            lines += (f"{'  ' * (depth + 1)}{line}".rstrip() for line in value.removesuffix("\n").split("\n"))
        else:
            lines.append(f"{before}{anchor} {_inline(value)}")
    return lines


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return _flow(value)
    if isinstance(value, list | tuple):
        if any(isinstance(item, Mapping) for item in value):
            return _flow(value)
        return f"[{', '.join(_scalar(item) for item in value)}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    match value:
        case True | False:
            return str(value).lower()
        case int() | float():
            return str(value)
        case str() if _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML:
            return value
        case _:
            return json.dumps(str(value), ensure_ascii=False)


def _flow(value: Any) -> str:
    """Return a value as JSON, which is one-line YAML."""
    return json.dumps(value, ensure_ascii=False)
