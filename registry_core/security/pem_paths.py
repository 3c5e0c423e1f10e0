"""The paths of PEM files in settings. It opens none of them. Pure."""

from __future__ import annotations

import msgspec

from registry_core.settings import text


class KeyPair(msgspec.Struct, frozen=True):
    """The files of a certificate with its chain, and of its key; without `key` both are in one file."""

    cert: str
    key: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths."""
        return (self.cert, self.key) if self.key else (self.cert,)


def path(value: str) -> str:
    """Read the path of a file. Raises ValueError."""
    found = text(value).strip()
    if "\0" in found:
        raise ValueError("it is not a path")
    return found
