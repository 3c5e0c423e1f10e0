"""Aligns the columns of tables for people. Every command that aligns anything does it here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from registry_core.settings import Setting, shown_default

_GAP: Final = "  "


def aligned(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """Return a line for each row; columns in `right`, such as numbers, are right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        _GAP.join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _further_names(setting: Setting[Any]) -> str:
    further = ", ".join(setting.spellings[1:])
    return f" (also {further})" if further else ""


def settings_help(table: Iterable[Setting[Any]]) -> str:
    """Return a table of settings for `--help`: name, meaning, default."""
    rows = [
        (setting.name, f"{setting.meaning}{_further_names(setting)} [{shown_default(setting)}]") for setting in table
    ]
    return "\n".join(f"{_GAP}{line}" for line in aligned(rows))
