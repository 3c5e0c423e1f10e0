"""The limits of a DNS name (RFC 1035 section 2.3.4): what is longer is refused when read, and never written."""

from __future__ import annotations

from typing import Final

MAX_NAME: Final = 255  # octets on the wire, the lengths of the labels and the root included
MAX_LABEL: Final = 63


class NameTooLong(ValueError):
    """Raised when a name that is to be written is too long, or has an empty label or one that is too long."""


def check_name(name: tuple[bytes, ...]) -> None:
    """Raises NameTooLong when the name with these labels cannot be written."""
    lengths = list(map(len, name))
    if sum(lengths) + len(lengths) + 1 > MAX_NAME or max(lengths, default=1) > MAX_LABEL or min(lengths, default=1) < 1:
        raise NameTooLong(f"{name!r} does not fit into a DNS name")


def fits(name: tuple[bytes, ...]) -> bool:
    """Return whether the name with these labels can be written."""
    try:
        check_name(name)
    except NameTooLong:
        return False
    return True
