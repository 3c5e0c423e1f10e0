"""Findings: what was found, why it matters, and the cure. Each kind is one row, which also generates its documentation.

A row's texts have placeholders in braces for the observed values. This module examines nothing.
"""

from __future__ import annotations

import enum
import string
from typing import Final

import msgspec


class DoctorSeverity(enum.StrEnum):
    """How bad a finding is: fine, good to know, will cause trouble some day, does not work."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


WORST_FIRST: Final = (DoctorSeverity.ERROR, DoctorSeverity.WARNING, DoctorSeverity.NOTE, DoctorSeverity.OK)


class DoctorFinding(msgspec.Struct, frozen=True):
    """A finding on this machine."""

    id: str
    severity: DoctorSeverity
    what: str
    why: str = ""
    cure: str = ""


class DoctorRule(msgspec.Struct, frozen=True):
    """A kind of finding. `cure` is a command or lines to write; a finding that is fine needs none."""

    id: str
    severity: DoctorSeverity
    what: str
    why: str = ""
    cure: str = ""

    def found(self, **seen: object) -> DoctorFinding:
        """Return the finding with its placeholders filled in. Raises KeyError when a value is missing."""
        what, why, cure = (text.format_map(seen) for text in (self.what, self.why, self.cure))
        return DoctorFinding(self.id, self.severity, what, why, cure)

    def described(self) -> DoctorFinding:
        """Return the row as the documentation shows it, with the names of its placeholders."""
        names = {
            place
            for text in (self.what, self.why, self.cure)
            for _, place, _, _ in string.Formatter().parse(text)
            if place is not None
        }
        return self.found(**{name: f"<{name.replace('_', ' ')}>" for name in names})
