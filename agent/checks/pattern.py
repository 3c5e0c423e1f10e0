r"""Body patterns: regular expressions that are matched in linear time, whatever the body holds.

Python's `re` backtracks: `(a+)+$` over thirty letters keeps it busy for minutes. RE2 follows all ways through a
pattern at once, and refuses what needs backtracking, such as `\1` and `(?=...)`. Linear is not instant: a large
pattern over a large body takes many milliseconds, so `steps` says beforehand how many steps a search may take.
"""

from __future__ import annotations

from typing import Final, Protocol

MAX_PATTERN: Final = 256
# A body of 16 KiB takes a pattern of this size two seconds of a processor, at the very most.
MAX_PROGRAM: Final = 4096
# What RE2 may remember of a search. With less it is slower, and never wrong.
MAX_MEMORY: Final = 1024 * 1024


class _Compiled(Protocol):
    """What is used of RE2, which ships no types."""

    @property
    def programsize(self) -> int: ...

    def search(self, text: bytes) -> object | None: ...


class Pattern:
    """A pattern that was understood. Raises ValueError, which says why, for one that is not."""

    def __init__(self, text: str) -> None:
        if not text or len(text) > MAX_PATTERN:
            raise ValueError(f"a pattern has from 1 to {MAX_PATTERN} characters")
        self._compiled = _compiled(text)
        if self._compiled.programsize > MAX_PROGRAM:
            raise ValueError("with its repetitions it is too large")

    def steps(self, text: str) -> int:
        """Return how many steps, of some 30 ns each, a search of `text` takes at most."""
        return self._compiled.programsize * (len(text) + 1)

    def is_in(self, text: str) -> bool:
        """Return whether `text` holds it. The interpreter is free for other threads meanwhile."""
        body = text.encode()
        if self._compiled.search(body) is not None:
            return True
        # To RE2 `$` is the very end. A body mostly ends with a newline, which nobody means by it.
        return body.endswith(b"\n") and self._compiled.search(body[:-1]) is not None


def _compiled(text: str) -> _Compiled:
    # It takes 1.5 MB, and few agents have a pattern.
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.never_capture = True
    options.log_errors = False  # they are raised
    try:
        compiled: _Compiled = re2.compile(text.encode(), options)
    except re2.error as error:
        raise ValueError(error.args[0].decode(errors="replace")) from None
    return compiled
