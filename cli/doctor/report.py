"""Formats findings: as text for people, worst first, or as JSON. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Final

import msgspec

from cli.doctor.finding import WORST_FIRST, DoctorFinding, DoctorSeverity
from cli.terminal import masked

_COLOURS: Final = {
    DoctorSeverity.ERROR: "31",
    DoctorSeverity.WARNING: "33",
    DoctorSeverity.NOTE: "36",
    DoctorSeverity.OK: "32",
}
_MANY: Final = {
    DoctorSeverity.ERROR: ("error", "errors"),
    DoctorSeverity.WARNING: ("warning", "warnings"),
    DoctorSeverity.NOTE: ("note", "notes"),
}
_INDENT: Final = " " * 9


class DoctorReport(msgspec.Struct, frozen=True):
    """The output of `--json`."""

    errors: int
    warnings: int
    notes: int
    fine: int
    findings: Sequence[DoctorFinding]


def report_json(findings: Sequence[DoctorFinding]) -> str:
    """Return all findings, including those that are fine, as one JSON object."""
    errors, warnings, notes, fine = (_count(findings, severity) for severity in WORST_FIRST)
    report = DoctorReport(errors, warnings, notes, fine, findings)
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def report_text(findings: Sequence[DoctorFinding], *, width: int, verbose: bool = False, colours: bool = False) -> str:
    """Return the findings as lines of at most `width` characters; fine ones are counted, or shown when `verbose`.

    Cures are never wrapped, so that they can be copied.
    """
    lines = []
    shown = [finding for finding in findings if verbose or finding.severity is not DoctorSeverity.OK]
    # A thousand services with the same fault share one cure: list the differences, print the rest once.
    for (severity, why, cure), alike in groupby(shown, key=lambda one: (one.severity, one.why, one.cure)):
        word = f"{severity:<8}"
        word = f"\x1b[{_COLOURS[severity]}m{word}\x1b[0m" if colours else word
        for finding in alike:
            what = _wrapped(f"{finding.what} [{finding.id}]", width, "")
            lines += [f"{word} {what[0].removeprefix(_INDENT)}", *what[1:]]
        if why:
            lines += _wrapped(why, width, "why   ")
        if cure:
            lines.append(f"{_INDENT}cure  {masked(cure)}")
    return "\n".join([*lines, *([""] if lines else []), summary(findings)])


def summary(findings: Sequence[DoctorFinding]) -> str:
    """Return one line with the counts."""
    parts = []
    for severity, (one, many) in _MANY.items():
        count = _count(findings, severity)
        if count:
            parts.append(f"{count} {one if count == 1 else many}")
    fine = _count(findings, DoctorSeverity.OK)
    return f"{', '.join(parts) or 'no problems'}; {fine} {'check' if fine == 1 else 'checks'} passed"


def _count(findings: Sequence[DoctorFinding], severity: DoctorSeverity) -> int:
    return sum(1 for finding in findings if finding.severity is severity)


def _wrapped(text: str, width: int, head: str) -> list[str]:
    lines = textwrap.wrap(
        masked(text),
        width=max(40, width),
        initial_indent=_INDENT + head,
        subsequent_indent=_INDENT + " " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [_INDENT + head]
