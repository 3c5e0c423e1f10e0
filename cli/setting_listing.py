"""Prints the settings of a program that is not started: `--check-config` and `--show-settings`.

Nothing secret is printed, and nothing is opened, resolved or asked beyond the files that the settings name.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from cli.options import JSON, add_output
from cli.parser import CommandParser, WrongUsage
from cli.table import aligned
from cli.terminal import printable
from registry_core.setting_values import Values
from registry_core.settings import Setting

MOST_CHARACTERS: Final = 100
_HEAD: Final = ("setting", "value", "source")
_SERVICE_HEAD: Final = ("service", "at", "checks", "source")


def add_settings_flags(parser: CommandParser) -> None:
    """Add `--check-config` and `--show-settings`, and the format in which the latter prints."""
    flags = parser.add_mutually_exclusive_group()
    flags.add_argument(
        "--check-config", action="store_true", help="check the settings and end: 0 when they are valid, else 2"
    )
    flags.add_argument(
        "--show-settings",
        action="store_true",
        help="print each setting with its value, secrets masked, and its source, and end",
    )

    add_output(parser, older=())
    parser.checks.append(_formats_settings)


def _formats_settings(arguments: argparse.Namespace) -> None:
    """Raise WrongUsage for a format of settings that are not shown."""
    if arguments.output == JSON and not arguments.show_settings:
        raise WrongUsage("--output is for --show-settings")


def only_lists(args: argparse.Namespace) -> bool:
    """Return whether the program is not to be started."""
    return bool(args.check_config or args.show_settings)


def print_check(program: str, what: str) -> None:
    """Print that the settings of `program` are valid, and `what` they describe."""
    print(f"vertice {program}: the settings are valid: {printable(what)}")


def print_settings(
    output: str, settings: Sequence[Sequence[str]], services: Sequence[Sequence[str]] | None = None
) -> None:
    """Print the rows of the settings, and those of the services if the program has any, as text or as JSON."""
    if output == JSON:
        found = {"settings": [dict(zip(_HEAD, row, strict=True)) for row in settings]}
        if services is not None:
            found["services"] = [dict(zip(_SERVICE_HEAD, row, strict=True)) for row in services]
        print(json.dumps(found, indent=2))
        return
    _print_rows([_HEAD, *settings])
    if services:
        print()
        _print_rows([_SERVICE_HEAD, *services])


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    for line in aligned(
        [[printable(_cut(cell) if column == 1 else cell) for column, cell in enumerate(row)] for row in rows]
    ):
        print(line)


def print_warnings(program: str, unknown: Collection[str], removed: Iterable[str] = ()) -> None:
    """Print on stderr the names that have no effect."""
    for name in removed:
        print(f"vertice {program}: {printable(name)}: it has no effect any more", file=sys.stderr)
    for name in unknown:
        print(f"vertice {program}: {printable(name)}: it is not a setting of ours, and has no effect", file=sys.stderr)


def setting_rows(table: Iterable[Setting[Any]], values: Values) -> list[tuple[str, str, str]]:
    """Return name, value and source of each setting."""
    return [(setting.name, values.shown(setting), values.source(setting)) for setting in table]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 3]}..."
