"""Measures the coverage of the tests' own processes: a plugin, `-p tests.tracing`, which must be loaded first.

It does not measure the programs that tests start: that would take each of the hundreds half as long again. So a line
that only runs in those programs counts as not covered.
"""

from __future__ import annotations

import atexit

import coverage


def _begin() -> None:
    measured = coverage.Coverage(data_suffix=True)

    def end() -> None:
        measured.stop()
        measured.save()

    measured.start()
    atexit.register(end)


_begin()
