"""Splits a command into words as Compose does.

Pure. Quotes and backslashes are those of a shell, but an operator ends the command: no shell is there to carry it out.
"""

from __future__ import annotations

from typing import Final

_OPERATORS: Final = frozenset(";&|<>")
_BLANKS: Final = frozenset(" \t\r\n")
_SINGLE, _DOUBLE, _BACK, _COMMAND = "'", '"', "`", "$("


class BadCommand(ValueError):
    """Raised when a quote or a parenthesis is not closed, or when a parenthesis opens nothing."""


def words_of(command: str) -> list[str]:
    """Return the words of a command up to its first operator. Raises BadCommand."""
    splitting = _Splitting()
    for char in command:
        if not splitting.take(char):
            break
    return splitting.words()


class _Splitting:
    """What is read so far: whole words, the present one (None between words), and which quotes are open."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._word: str | None = None
        self._open: set[str] = set()
        self._escaped = False

    def words(self) -> list[str]:
        if self._open or self._escaped:
            raise BadCommand("a quote is not closed")
        return self._words if self._word is None else [*self._words, self._word]

    def take(self, char: str) -> bool:
        """Read one character; return whether the command goes on."""
        if self._escaped:
            self._escaped = False
            self._append(char)
        elif char == "\\" and _SINGLE not in self._open:
            self._escaped = True
        elif char in _BLANKS and not self._open:
            self._end_word()
        elif char in _OPERATORS and not self._open:
            self._end_command(char)
            return False
        elif char in (_SINGLE, _DOUBLE) and not self._open & ({_SINGLE, _DOUBLE, _COMMAND} - {char}):
            self._quote(char)
        else:
            self._nest(char)
            self._append(char)
        return True

    def _append(self, char: str) -> None:
        self._word = (self._word or "") + char

    def _end_word(self) -> None:
        if self._word is not None:
            self._words.append(self._word)
        self._word = None

    def _end_command(self, operator: str) -> None:
        # `2>` is one operator.
        if operator == ">" and (self._word or "")[:1].isdigit():
            self._word = None

    def _quote(self, char: str) -> None:
        if char in self._open:
            self._word = self._word or ""
        self._open ^= {char}

    def _nest(self, char: str) -> None:
        """Open or close a command within the command."""
        if char == _BACK and not self._open & {_SINGLE, _DOUBLE, _COMMAND}:
            self._open ^= {_BACK}
        elif char in "()" and not self._open & {_SINGLE, _DOUBLE, _BACK}:
            if char == "(" and (_COMMAND in self._open or not (self._word or "").endswith("$")):
                raise BadCommand("a parenthesis opens nothing; quote it")
            self._open ^= {_COMMAND}
