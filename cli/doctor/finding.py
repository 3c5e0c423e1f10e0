"""Findings: what is so, why it matters, and the cure. Every kind of finding is one row, and is documented from it.

A row's texts hold places in braces for what was seen. Nothing here looks at anything.
"""

from __future__ import annotations

import enum
import string
from typing import Final

import msgspec


class DoctorSeverity(enum.StrEnum):
    """How bad it is: of no matter, good to know, will hurt some day, does not work."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


WORST_FIRST: Final = (DoctorSeverity.ERROR, DoctorSeverity.WARNING, DoctorSeverity.NOTE, DoctorSeverity.OK)


class DoctorFinding(msgspec.Struct, frozen=True):
    """What was found on this machine."""

    id: str
    severity: DoctorSeverity
    what: str
    why: str = ""
    cure: str = ""


class DoctorRule(msgspec.Struct, frozen=True):
    """A kind of finding. `cure` is a command, or lines to write; what is fine needs none."""

    id: str
    severity: DoctorSeverity
    what: str
    why: str = ""
    cure: str = ""

    def found(self, **seen: object) -> DoctorFinding:
        """Return the finding with what was seen in its places. Raises KeyError when a place stays empty."""
        what, why, cure = (text.format_map(seen) for text in (self.what, self.why, self.cure))
        return DoctorFinding(self.id, self.severity, what, why, cure)

    def described(self) -> DoctorFinding:
        """Return the row as the documentation shows it, each place by its name."""
        names = {
            place
            for text in (self.what, self.why, self.cure)
            for _, place, _, _ in string.Formatter().parse(text)
            if place is not None
        }
        return self.found(**{name: f"<{name.replace('_', ' ')}>" for name in names})
