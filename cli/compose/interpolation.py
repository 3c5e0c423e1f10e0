"""Fills `$VAR`, `${VAR}` and their defaults into a text, as Compose does.

Pure. It knows `${V:-d}`, `${V-d}`, `${V:?e}`, `${V?e}`, `${V:+x}`, `${V+x}`, nested, and `$$` for a dollar. A dollar
that begins neither a name nor a brace is a dollar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

MAX_DEPTH: Final = 20
MAX_LENGTH: Final = 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OPERATOR: Final = re.compile(r":?[-?+]")
# A brace hides the character after it from Compose's count of braces: to Compose, `{}` opens and does not close.
_BRACES: Final = re.compile(r"(?P<open>\{[^\n]?)|(?P<close>\})|\n")


class Filled(msgspec.Struct, frozen=True):
    """A text with its variables filled in. `unset`: those left blank because they have no value."""

    text: str
    unset: tuple[str, ...] = ()


class BadVariable(ValueError):
    """Raised when a text cannot be filled in; `required` names a missing required variable, if that is the cause."""

    def __init__(self, message: str, required: str | None = None) -> None:
        super().__init__(message)
        self.required = required


def fill(text: str, variables: Mapping[str, str]) -> Filled:
    """Return `text` with its variables filled in. Raises BadVariable."""
    unset: list[str] = []
    filled = _filled(text, variables, unset, 0)
    return Filled(filled, tuple(dict.fromkeys(unset)))


def _filled(text: str, variables: Mapping[str, str], unset: list[str], depth: int) -> str:
    if depth > MAX_DEPTH:
        raise BadVariable(f"its variables are nested more than {MAX_DEPTH} deep")
    parts: list[str] = []
    at = length = 0
    while (dollar := text.find("$", at)) >= 0:
        parts.append(text[at:dollar])
        after = text[dollar + 1 : dollar + 2]
        if after == "$":
            piece, at = "$", dollar + 2
        elif after == "{":
            end = _closing(text, dollar)
            piece, at = _braced(text[dollar + 2 : end], variables, unset, depth), end + 1
        elif (name := _NAME.match(text, dollar + 1)) is not None:
            piece, at = _plain(name[0], variables, unset), name.end()
        else:
            piece, at = "$", dollar + 1
        parts.append(piece)
        length += len(piece)
        if length > MAX_LENGTH:
            raise BadVariable("it is too long once its variables are filled in")
    parts.append(text[at:])
    return "".join(parts)


def _closing(text: str, dollar: int) -> int:
    """Return the position of the brace that closes `${` at `dollar`. Raises BadVariable for what names no variable.

    The text is not shown: it may be a password with a dollar in it.

    Compose pairs braces, with and without a dollar, on one line. Where they do not pair up, the last one of the line
    closes.
    """
    name = _NAME.match(text, dollar + 2)
    after = name.end() if name is not None else dollar + 2
    if name is not None and text.startswith("}", after):
        return after
    if name is None or _OPERATOR.match(text, after) is None:
        raise BadVariable(f"'${{' at character {dollar + 1} begins no variable; write a literal dollar as '$$'")
    depth, last = 1, -1
    for brace in _BRACES.finditer(text, after):
        if brace["close"]:
            depth, last = depth - 1, brace.start()
            if depth == 0:
                return last
        elif brace["open"]:
            depth += 1
            last = brace.start() + 1 if brace["open"] == "{}" else last
        else:
            break
    if last < 0:
        raise BadVariable(f"'${{' at character {dollar + 1} has no closing brace in its line")
    return last


def parts(text: str, separator: str) -> list[str]:
    """Return the parts of a text with variables; a separator inside `${...}` belongs to the variable."""
    found: list[str] = []
    depth = start = 0
    for at, character in enumerate(text):
        if text.startswith("${", at):
            depth += 1
        elif character == "}":
            depth = max(0, depth - 1)
        elif character == separator and depth == 0:
            found.append(text[start:at])
            start = at + 1
    return [*found, text[start:]]


def _plain(name: str, variables: Mapping[str, str], unset: list[str]) -> str:
    value = variables.get(name)
    if value is None:
        unset.append(name)
        return ""
    return value


def _braced(inside: str, variables: Mapping[str, str], unset: list[str], depth: int) -> str:
    match = _NAME.match(inside)
    name = match[0] if match is not None else ""
    operator = _OPERATOR.match(inside, len(name))
    if operator is None:
        return _plain(name, variables, unset)
    word = inside[operator.end() :]
    value = variables.get(name)
    given = bool(value) if operator[0].startswith(":") else value is not None
    match operator[0][-1]:
        case "-":
            return value if given and value is not None else _filled(word, variables, unset, depth + 1)
        case "+":
            return _filled(word, variables, unset, depth + 1) if given else ""
        case _:
            if given and value is not None:
                return value
            why = _filled(word, variables, unset, depth + 1)
            raise BadVariable(f"the variable {name} is required" + (f": {why}" if why else ""), required=name)
