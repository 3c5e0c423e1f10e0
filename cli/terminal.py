"""Makes foreign text safe for a terminal: text from a file or a server must not inject escape sequences."""

from __future__ import annotations

from typing import Final

MAX_LENGTH: Final = 400


def printable(text: str, *, most: int = MAX_LENGTH) -> str:
    """Return at most `most` characters of a text as one line, with unprintable characters escaped."""
    text = text[:most]
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def masked(text: str) -> str:
    """Return a text as one line, with a question mark for each unprintable character."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
