"""Shows texts that follow each other: each in the place of the last on a terminal, else one after another."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Final

from cli.parser import value

LEAST_S: Final = 0.5
MOST_S: Final = 3600.0
# ECMA-48: to the upper left corner; erase to the end of the line, and of the screen.
_HOME: Final = "\x1b[H"
_TO_END_OF_LINE: Final = "\x1b[K"
_TO_END: Final = "\x1b[J"
_CLEAR: Final = "\x1b[H\x1b[2J"


def _interval(given: str) -> float:
    try:
        seconds = float(given.removesuffix("s"))
    except ValueError:
        raise ValueError("it is no number of seconds") from None
    if not LEAST_S <= seconds <= MOST_S:
        raise ValueError(f"it must be between {LEAST_S:g} and {MOST_S:g} s")
    return seconds


interval: Final = value(_interval, "2")


class Screen:
    """Standard output as a sequence of pages."""

    def __init__(self) -> None:
        self.redraws = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._shown = False

    def show(self, text: str) -> None:
        """Show the next page; on a terminal only as much as it has room for."""
        if self.redraws:
            size = shutil.get_terminal_size()
            lines = [line[: size.columns] for line in text.split("\n")[: max(1, size.lines - 1)]]
            start = _HOME if self._shown else _CLEAR
            print(start + "".join(f"{line}{_TO_END_OF_LINE}\n" for line in lines) + _TO_END, end="", flush=True)
        else:
            print(f"\n{text}" if self._shown else text, flush=True)
        self._shown = True
