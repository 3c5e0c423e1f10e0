"""Reads `.env` files, and those that `env_file` names, as Compose does.

Pure. `NAME=value`, quotes, `export`, comments and values over several lines; variables as in compose files. In the
format `raw`, a value is everything after the `=`. A file is split into statements once; what its variables come to
depends on the service that names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from cli.compose.errors import ComposeError, Place
from cli.compose.interpolation import BadVariable, fill

MAX_LINES: Final = 100_000
FORMATS: Final = ("", "raw")
# What Compose takes for a blank within a line.
_BLANK: Final = "\t\v\f\r \x85\xa0"
_EXPORT: Final = re.compile(r"export[\s\x85\xa0]+")
_NAME: Final = re.compile(rf"[\w.\-\[\]{_BLANK}]*")
_ESCAPE: Final = re.compile(r"\\([abcfnrtv$\"\\]|0\d{0,3})", re.ASCII)
_OCTAL: Final = re.compile(r"[0-3][0-7]{2}")
_ESCAPES: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    '"': '"',
    "\\": "\\",
    "$": "$$",
}


class Statement(msgspec.Struct, frozen=True, gc=False):
    """A name and its value as written, without quotes. `value` None: a bare name. `literal`: it holds no variables."""

    name: str
    value: str | None
    line: int
    literal: bool = False


class EnvLine(msgspec.Struct, frozen=True):
    """A name and its value. `raw` is the value with its variables not filled in."""

    name: str
    value: str
    raw: str
    line: int


def statements_of(
    text: str, file: str, report: Callable[[ComposeError], None], *, raw: bool = False
) -> list[Statement]:
    """Return the statements of an env file in order; invalid lines are reported and left out."""
    return list(_raw(text, file, report) if raw else _Reading(text, file, report).statements())


def filled_in(
    statements: Iterable[Statement],
    variables: Mapping[str, str],
    known: dict[str, str],
    file: str,
    report: Callable[[ComposeError], None],
) -> list[EnvLine]:
    """Return the lines of an env file with their variables filled in, and add them to `known`.

    A variable is looked up in `variables`, then in `known`: the lines before, also those of earlier files. A bare name
    takes its value from `variables`, and is left out when they lack it. Bad variables are reported and kept as written.
    """
    lines: list[EnvLine] = []
    both = _Both(variables, known)
    for statement in statements:
        if statement.value is None:
            inherited = variables.get(statement.name)
            if inherited is None:
                continue
            value, raw = inherited, ""
        else:
            value = raw = statement.value
            if not statement.literal:
                try:
                    value = fill(raw, both).text if "$" in raw else raw
                except BadVariable as error:
                    _tell(report, f"{statement.name}: {error}", file, statement.line)
        known[statement.name] = value
        lines.append(EnvLine(statement.name, value, raw, statement.line))
    return lines


class _Both(Mapping[str, str]):
    """Looks a name up in two maps, the first one first."""

    def __init__(self, first: Mapping[str, str], second: Mapping[str, str]) -> None:
        self._first = first
        self._second = second

    def __getitem__(self, key: str) -> str:
        return self._first[key] if key in self._first else self._second[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._second, **self._first})

    def __len__(self) -> int:
        return len({**self._second, **self._first})


class _Reading:
    """One pass over an env file."""

    def __init__(self, text: str, file: str, report: Callable[[ComposeError], None]) -> None:
        self._text = text
        self._file = file
        self._report = report
        self._at = 0
        self._line = 1
        self._counted = 0

    def statements(self) -> Iterable[Statement]:
        """Return the statements in order."""
        while self._skipped() and self._line <= MAX_LINES:
            statement = self._statement()
            if statement is not None:
                yield statement

    def _skipped(self) -> bool:
        """Move to the next statement, past blanks and comments; return whether there is one."""
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char == "#":
                self._at = self._end_of_line()
            elif char.isspace():
                self._at += 1
            else:
                self._line += text.count("\n", self._counted, self._at)
                self._counted = self._at
                return True
        return False

    def _statement(self) -> Statement | None:
        text, start = self._text, self._at
        exported = _EXPORT.match(text, start)
        start = exported.end() if exported else start
        name_match = _NAME.match(text, start)
        end = name_match.end() if name_match is not None else start
        name = text[start:end].rstrip()
        sign = text[end : end + 1]
        if sign in ("=", ":") and name and " " not in name:
            self._at = end + 1
            return self._value(name)
        self._at = self._end_of_line()
        if sign in ("", "\n") and name and " " not in name:
            return Statement(name, None, self._line)
        self._tell("it is not NAME=value")
        return None

    def _value(self, name: str) -> Statement | None:
        text = self._text
        while text[self._at : self._at + 1] and text[self._at] in _BLANK:
            self._at += 1
        quote = text[self._at : self._at + 1]
        if quote not in ("'", '"') or not quote:
            end = self._end_of_line()
            value = text[self._at : end].partition(" #")[0].rstrip()
            self._at = end
            return Statement(name, value, self._line)
        end = _closing_quote(text, self._at, quote)
        if end < 0:
            self._at = self._end_of_line()
            self._tell(f"the quote of {name} is not closed")
            return None
        value = text[self._at + 1 : end].replace(f"\\{quote}", quote)
        self._at = end + 1
        return Statement(name, value if quote == "'" else _unescaped(value), self._line, literal=quote == "'")

    def _end_of_line(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end

    def _tell(self, reason: str) -> None:
        _tell(self._report, reason, self._file, self._line)


def _closing_quote(text: str, start: int, quote: str) -> int:
    """Return the position of the quote that closes the one at `start`, -1 without one."""
    at = start + 1
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == quote:
            return at
        at += 1
    return -1


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(_character, value)


def _character(escape: re.Match[str]) -> str:
    """Return what an escape stands for: a zero and three octal digits are a character, fewer lose the zero."""
    if not escape[1].startswith("0"):
        return _ESCAPES[escape[1]]
    digits = escape[1][1:]
    return chr(int(digits, 8)) if _OCTAL.fullmatch(digits) else f"\\{digits}"


def _raw(text: str, file: str, report: Callable[[ComposeError], None]) -> Iterable[Statement]:
    """Return the statements of a file in Docker's own format: no quotes, no variables, no comments after a value."""
    for number, line in enumerate(text.split("\n")[:MAX_LINES], 1):
        # Blanks at the end belong to the value.
        stripped = line.removesuffix("\r").lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        name, sign, value = stripped.partition("=")
        if not name or any(char.isspace() for char in name):
            _tell(report, "it is not NAME=value", file, number)
            continue
        yield Statement(name, value if sign else None, number, literal=True)


def _tell(report: Callable[[ComposeError], None], reason: str, file: str, line: int) -> None:
    report(ComposeError(reason, code="env-file", place=Place(file, line), example="NAME=value"))
