"""Prints the settings of a program that is not started: `--check-config` and `--show-settings`.

Nothing secret is printed, and nothing is opened, resolved or asked beyond the files that the settings name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from cli.table import aligned
from cli.terminal import printable
from registry_core.setting_values import Values
from registry_core.settings import Setting

MOST_CHARACTERS: Final = 100
_HEAD: Final = ("setting", "value", "source")


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--check-config` and `--show-settings`."""
    flags = parser.add_mutually_exclusive_group()
    flags.add_argument(
        "--check-config", action="store_true", help="check the settings and end: 0 when they are valid, else 2"
    )
    flags.add_argument(
        "--show-settings",
        action="store_true",
        help="print each setting with its value, secrets masked, and its source, and end",
    )


def only_lists(args: argparse.Namespace) -> bool:
    """Return whether the program is not to be started."""
    return bool(args.check_config or args.show_settings)


def print_check(program: str, what: str) -> None:
    """Print that the settings of `program` are valid, and `what` they describe."""
    print(f"vertice {program}: the settings are valid: {printable(what)}")


def print_settings(table: Iterable[Setting[Any]], values: Values) -> None:
    """Print the settings of `table`, one in a line."""
    print_rows([_HEAD, *setting_rows(table, values)])


def print_rows(rows: Sequence[Sequence[str]]) -> None:
    """Print the columns of a table."""
    for line in aligned([[printable(cell) for cell in row] for row in rows]):
        print(line)


def print_warnings(program: str, unknown: Collection[str], removed: Iterable[str] = ()) -> None:
    """Print on stderr the names that have no effect."""
    for name in removed:
        print(f"vertice {program}: {printable(name)}: it has no effect any more", file=sys.stderr)
    for name in unknown:
        print(f"vertice {program}: {printable(name)}: it is not a setting of ours, and has no effect", file=sys.stderr)


def setting_rows(table: Iterable[Setting[Any]], values: Values) -> list[tuple[str, str, str]]:
    """Return name, value and source of each setting."""
    return [(setting.name, _cut(values.shown(setting)), values.source(setting)) for setting in table]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 3]}..."
