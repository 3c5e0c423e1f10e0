"""A place in a compose file, and the one error for all faults of a compose file."""

from __future__ import annotations

from typing import Final

import msgspec

from cli.terminal import printable
from registry_core.errors import CallerError


class Place(msgspec.Struct, frozen=True, order=True, gc=False):
    """A line of a file. `line` 0: the file as a whole; `file` empty: bytes without a name."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


NOWHERE: Final = Place()


class ComposeError(CallerError):
    """Raised when a compose file, or a part of it, cannot be used. Its text is one line with the place.

    `code` is stable. `service` is set when only that service is affected: such errors are collected in
    `Project.problems`, and the rest of the file can be used.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        place: Place = NOWHERE,
        field: str | None = None,
        service: str | None = None,
        example: str | None = None,
    ) -> None:
        super().__init__(printable(message), field=field, example=example)
        self.hint = example
        self.code = code
        self.place = place
        self.service = service

    def __str__(self) -> str:
        return f"{printable(str(self.place))}: {self.message}"

    @property
    def hinted(self) -> str:
        """The same line with a correct example, if there is one."""
        return f"{self} (example: {self.hint})" if self.hint else str(self)
