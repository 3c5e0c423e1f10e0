"""Decides which refusals get a line of their own, and which are counted: the audit must not fill the disk for those
who send nothing but what is refused. Pure.

In each WINDOW_S, equal refusals get BURST lines, and all refusals together MAX_LINES; the rest is counted, and the
window ends with one line for each kind. None is left out.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, TypeAlias

import msgspec

from registry_core.ports.audit import AuditEntry
from registry_core.security.audit.lines import CountedEntry

WINDOW_S: Final = 10.0
BURST: Final = 5
MAX_LINES: Final = 200
# Refusals of more kinds share a line for each operation and error, of which there are few.
MAX_KINDS: Final = 128
_MANY: Final = "many"

_Equal: TypeAlias = tuple[str, ...]


class Repeats:
    """The refusals of the current window. `now` is in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._lines = 0
        self._seen: Counter[_Equal] = Counter()
        self._counted: dict[_Equal, CountedEntry] = {}

    def gets_line(self, entry: AuditEntry, now: float) -> bool:
        """Return whether a refusal gets a line of its own; otherwise it is counted."""
        if self._began is None:
            self._began = now
        kind: _Equal = (entry.operation, entry.result, entry.who, entry.client, entry.service, entry.instance)
        is_known = kind in self._seen or len(self._seen) < MAX_KINDS
        if is_known:
            self._seen[kind] += 1
            if self._seen[kind] <= BURST and self._lines < MAX_LINES:
                self._lines += 1
                return True
        if not is_known or (kind not in self._counted and self._lines >= MAX_LINES):
            kind = (entry.operation, entry.result)
            entry = _shared(entry)
        before = self._counted.get(kind)
        times, since = (before.times, before.since) if before is not None else (0, entry.time)
        self._counted[kind] = CountedEntry(entry, times + 1, since)
        return False

    def due_in_s(self, now: float) -> float | None:
        """Return the seconds until `take` has something; None when it will not."""
        if self._began is None:
            return None
        return max(0.0, self._began + WINDOW_S - now)

    def take(self, now: float, *, early: bool = False) -> list[CountedEntry]:
        """Return the counted refusals and begin a new window, once the current one has ended, or `early`."""
        if self._began is None or (not early and now - self._began < WINDOW_S):
            return []
        counted = list(self._counted.values())
        self._began, self._lines = None, 0
        self._seen.clear()
        self._counted.clear()
        return counted


def _shared(entry: AuditEntry) -> AuditEntry:
    """Return an entry for refusals that have only the operation and the error in common."""
    return msgspec.structs.replace(
        entry, who=_MANY, client=_MANY, service="", instance="", proof="", key_id="", reason="", trace_id=""
    )
