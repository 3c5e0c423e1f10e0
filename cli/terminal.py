"""Text of others on a terminal: what stands in a file, or comes from a server, must not paint there."""

from __future__ import annotations

from typing import Final

MAX_LENGTH: Final = 400


def printable(text: str, *, most: int = MAX_LENGTH) -> str:
    """Return at most so many characters of a text as one line, with escapes for what cannot be printed."""
    text = text[:most]
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def masked(text: str) -> str:
    """Return a text as one line, with a question mark for each character that cannot be printed."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
