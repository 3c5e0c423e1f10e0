"""Fills `$VAR`, `${VAR}` and their defaults into a text, as Compose does.

Pure. It knows `${V:-d}`, `${V-d}`, `${V:?e}`, `${V?e}`, `${V:+x}`, `${V+x}`, nested, and `$$` for a dollar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

MAX_DEPTH: Final = 20
MAX_LENGTH: Final = 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OPERATORS: Final = (":-", ":?", ":+", "-", "?", "+")


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
            end = _closing(text, dollar + 2)
            piece, at = _braced(text[dollar + 2 : end], variables, unset, depth), end + 1
        elif (name := _NAME.match(text, dollar + 1)) is not None:
            piece, at = _plain(name[0], variables, unset), name.end()
        else:
            raise BadVariable(f"{text[dollar : dollar + 20]!r} is not a variable; write a literal dollar as '$$'")
        parts.append(piece)
        length += len(piece)
        if length > MAX_LENGTH:
            raise BadVariable("it is too long once its variables are filled in")
    parts.append(text[at:])
    return "".join(parts)


def _closing(text: str, start: int) -> int:
    """Return the position of the brace that closes the one just before `start`. Raises BadVariable without one."""
    depth = 1
    at = start
    while at < len(text):
        if text.startswith("$$", at):
            at += 2
        elif text.startswith("${", at):
            depth += 1
            at += 2
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
            at += 1
        else:
            at += 1
    raise BadVariable(f"{text[start - 2 : start + 18]!r} has no closing brace")


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
    if match is None:
        raise BadVariable(f"'${{{inside[:20]}}}' does not name a variable")
    name, rest = match[0], inside[match.end() :]
    if not rest:
        return _plain(name, variables, unset)
    operator = next((o for o in _OPERATORS if rest.startswith(o)), None)
    if operator is None:
        raise BadVariable(f"'${{{inside[:40]}}}' has a form that Compose does not know")
    word = rest[len(operator) :]
    value = variables.get(name)
    given = bool(value) if operator.startswith(":") else value is not None
    match operator[-1]:
        case "-":
            return value if given and value is not None else _filled(word, variables, unset, depth + 1)
        case "+":
            return _filled(word, variables, unset, depth + 1) if given else ""
        case _:
            if given and value is not None:
                return value
            why = _filled(word, variables, unset, depth + 1)
            raise BadVariable(f"the variable {name} is required" + (f": {why}" if why else ""), required=name)
