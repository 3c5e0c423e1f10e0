r"""Body patterns: regular expressions that match in linear time, whatever the body holds.

Python's `re` backtracks: `(a+)+$` on thirty letters takes minutes. RE2 follows all paths through a pattern at
once, and rejects what needs backtracking, such as `\1` and `(?=...)`. Linear is not instant: a large pattern on a
large body takes many milliseconds, so `steps` returns an upper bound before a search.
"""

from __future__ import annotations

from typing import Final, Protocol

MAX_PATTERN: Final = 256
# At this size, searching a body of 16 KiB takes at most two seconds of CPU time.
MAX_PROGRAM: Final = 4096
# The memory of RE2's state cache. With less it is slower, but never wrong.
MAX_MEMORY: Final = 1024 * 1024


class _Compiled(Protocol):
    """The part of RE2 used here; RE2 ships no types."""

    @property
    def programsize(self) -> int: ...

    def search(self, text: bytes) -> object | None: ...


class Pattern:
    """A compiled pattern. Raises ValueError, with the reason, when `text` is not a valid one."""

    def __init__(self, text: str) -> None:
        if not text or len(text) > MAX_PATTERN:
            raise ValueError(f"a pattern has from 1 to {MAX_PATTERN} characters")
        self._compiled = _compiled(text)
        if self._compiled.programsize > MAX_PROGRAM:
            raise ValueError("with its repetitions it is too large")

    def steps(self, text: str) -> int:
        """Return the most steps, of about 30 ns each, that a search of `text` takes."""
        return self._compiled.programsize * (len(text) + 1)

    def is_in(self, text: str) -> bool:
        """Return whether the pattern matches in `text`. Releases the GIL during the search."""
        body = text.encode()
        if self._compiled.search(body) is not None:
            return True
        # In RE2 `$` is the very end. Most bodies end with a newline, which authors of patterns ignore.
        return body.endswith(b"\n") and self._compiled.search(body[:-1]) is not None


def _compiled(text: str) -> _Compiled:
    # Imported late: it takes 1.5 MB, and few agents have a pattern.
    import re2  # noqa: PLC0415 - it need not be installed

    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.never_capture = True
    options.log_errors = False  # errors are raised instead
    try:
        compiled: _Compiled = re2.compile(text.encode(), options)
    except re2.error as error:
        raise ValueError(f"it is not a regular expression: {error.args[0].decode(errors='replace')}") from None
    return compiled
