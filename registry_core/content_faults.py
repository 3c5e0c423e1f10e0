"""Says in words for people what is wrong with a text that cannot be decoded, or with the shape of its content. Pure."""

from __future__ import annotations

import json
import re
from typing import Final

from registry_core.errors import VerticeError

WRONG_WORD: Final = "it is not one of the words that are allowed here"
_BYTE: Final = re.compile(r"\(byte (\d+)\)")
_TYPES: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "nothing (null)",
}
_EXPECTED: Final = re.compile(r"Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`")
_BOUND: Final = re.compile(r"Expected `(?P<of>[^`]*)` (?P<bound>(?:of length )?[<>]=? -?[\d.]+|matching regex .*)")
_ENUM: Final = re.compile(r"Invalid enum value (?P<value>.*)", re.DOTALL)


def content_fault(error: BaseException) -> str | None:
    """Return what is wrong with a text that cannot be decoded, or None for another kind of error."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeError):
        return "it is not valid text"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON (line {error.lineno}, column {error.colno})"
    if isinstance(error, ValueError) and type(error).__module__.partition(".")[0] == "msgspec":
        message = str(error)
        if type(error).__name__ == "ValidationError":
            path, words = shape_fault(message)
            return f"{path}: {words}" if path else words
        byte = _BYTE.search(message)
        return f"it is not JSON (byte {byte[1]})" if byte is not None else "it is not JSON: it ends too early"
    return None


def unreadable(error: BaseException) -> str:
    """Return why a record cannot be read, of whatever kind the error is."""
    if isinstance(error, VerticeError):
        return str(error)
    return content_fault(error) or "a value in it cannot be used"


def shape_fault(message: str) -> tuple[str, str]:
    """Return the path of the field, and what is wrong with it, of the message of a msgspec.ValidationError."""
    text, _, place = message.partition(" - at `")
    path = place.removesuffix("`").removeprefix("$").removeprefix(".")
    named = re.search(r"(missing required|contains unknown) field `([^`]*)`", text)
    if named is not None:
        path = f"{path}.{named[2]}" if path else named[2]
        return path, "it is missing" if named[1] == "missing required" else "there is no such field"
    expected = _EXPECTED.search(text)
    if expected is not None:
        return path, f"it must be {_kinds(expected['wanted'])}, not {_kinds(expected['got'])}"
    bound = _BOUND.search(text)
    if bound is not None:
        what = _TYPES.get(bound["of"], "a value")
        return path, f"it must be {what}{_bound(bound['bound'], bound['of'])}"
    if _ENUM.search(text):
        return path, WRONG_WORD
    return path, "it has a value that cannot be used"


def _kinds(text: str) -> str:
    """Return the types of `int | null` in words; `null` only where it stands alone."""
    kinds = [kind.strip() for kind in text.split("|")]
    return " or ".join(_TYPES.get(kind, "another kind") for kind in kinds if kind != "null" or len(kinds) == 1)


def _bound(text: str, of: str) -> str:
    if text.startswith("matching"):
        return " of another form"
    sign, number = text.removeprefix("of length ").split(" ")
    words = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}[sign]
    if text.startswith("of length"):
        return f" with {words} {number} {'characters' if of == 'str' else 'items'}"
    return f", {words} {number}"
