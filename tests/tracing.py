"""Measures what the tests run in their own processes: a plugin, `-p tests.tracing`, that has to be there first.

Not what they start: to be measured makes a program half as fast again, and hundreds are started. So a line that is run
in programs alone counts as one that is not run at all.
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
