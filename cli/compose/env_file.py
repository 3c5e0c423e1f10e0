"""Reads the lines of an `.env` file, and of those that `env_file` names.

Pure. `NAME=value`, quotes, `export`, comments and values over several lines; variables as in compose files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from cli.compose.errors import ComposeError, Place
from cli.compose.interpolation import BadVariable, fill

MAX_LINES: Final = 100_000
_LINE: Final = re.compile(r"\s*(?:export\s+)?(?P<name>[^\s=:#]+)\s*(?:(?P<sign>[=:])[^\S\n]*(?P<value>.*))?", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


class EnvLine(msgspec.Struct, frozen=True):
    """A name and its value; None for a bare name, whose value comes from the caller's environment."""

    name: str
    value: str | None
    raw: str | None
    line: int


def env_lines(
    text: str, file: str, variables: Mapping[str, str], report: Callable[[ComposeError], None]
) -> list[EnvLine]:
    """Return the entries of an env file in order; invalid lines are reported."""
    known = dict(variables)
    found: list[EnvLine] = []
    # Not splitlines(): it also ends a line at characters that a value may well hold, such as U+2028.
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < min(len(lines), MAX_LINES):
        number, line = at + 1, lines[at]
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            _tell(report, "it is not NAME=value", file, number)
            continue
        if match["sign"] is None:
            found.append(EnvLine(match["name"], None, None, number))
            continue
        raw = match["value"]
        quote = raw[:1] if raw[:1] in ("'", '"') else ""
        if quote:
            while _end(raw, quote) < 0 and at < len(lines):
                raw += "\n" + lines[at]
                at += 1
            end = _end(raw, quote)
            if end < 0:
                _tell(report, f"the quote of {match['name']} is not closed", file, number)
                continue
            raw = raw[1:end]
        else:
            raw = re.split(r"\s+#", raw, maxsplit=1)[0].strip()
        value = _unescaped(raw) if quote == '"' else raw
        if quote != "'":
            try:
                value = fill(value, known).text
            except BadVariable as error:
                _tell(report, f"{match['name']}: {error}", file, number)
        if match["name"] not in variables:
            known[match["name"]] = value
        found.append(EnvLine(match["name"], value, raw, number))
    return found


def _end(raw: str, quote: str) -> int:
    at = 1
    while at < len(raw):
        if raw[at] == "\\" and quote == '"':
            at += 1
        elif raw[at] == quote:
            return at
        at += 1
    return -1


def _unescaped(raw: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), raw, flags=re.DOTALL)


def _tell(report: Callable[[ComposeError], None], reason: str, file: str, line: int) -> None:
    report(ComposeError(reason, code="env-file", place=Place(file, line), example="NAME=value"))
