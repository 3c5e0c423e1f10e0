"""The one rule for colours in output: of commands and of logs, in every program.

`NO_COLOR` (no-color.org) turns them off. Otherwise `CLICOLOR_FORCE` and `FORCE_COLOR` turn them on, also into a pipe.
Otherwise a terminal gets them, unless `TERM` is `dumb` or `CLICOLOR` is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

AUTO: Final = "auto"
ALWAYS: Final = "always"
NEVER: Final = "never"
WHEN: Final = (AUTO, ALWAYS, NEVER)
_FORCING: Final = ("CLICOLOR_FORCE", "FORCE_COLOR")


class Stream(Protocol):
    """A stream that may be a terminal."""

    def isatty(self) -> bool: ...


def coloured(stream: Stream, environment: Mapping[str, str], when: str = AUTO) -> bool:
    """Return whether output to `stream` has colours. `when`, from a command line, precedes the environment."""
    if when != AUTO:
        return when == ALWAYS
    if environment.get("NO_COLOR"):
        return False
    if any(environment.get(name, "0") not in ("", "0") for name in _FORCING):
        return True
    return stream.isatty() and environment.get("TERM") != "dumb" and environment.get("CLICOLOR") != "0"
