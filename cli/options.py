"""The options that commands share. Each has the same spelling, values and meaning in every command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from cli.client import AGENT_URL, REGISTRY_URL
from cli.parser import CommandParser, WrongUsage, file_path
from registry_core.telemetry.colours import AUTO, WHEN

TEXT: Final = "text"
JSON: Final = "json"
# The name that stands for standard output where a file is written, and for standard input where one is read.
STDOUT: Final = "-"
STDIN: Final = "-"


def add_output(
    parser: argparse.ArgumentParser,
    *,
    formats: Sequence[str] = (TEXT, JSON),
    default: str = TEXT,
    older: Sequence[str] = ("--json",),
    note: str = "",
) -> None:
    """Add `-o/--output`, and the older spellings: `--json`, which stands for `-o json`, and `--format`."""
    spellings = "older spelling" if len(older) == 1 else "older spellings"
    older_shown = f" ({' and '.join(older)}: {spellings})" if older else ""
    known = ", ".join(formats)
    parser.add_argument(
        "-o",
        "--output",
        choices=formats,
        default=default,
        metavar="FORMAT",
        help=f"{note}{': ' if note else ''}the output format: {known} (default: {default}){older_shown}",
    )
    if "--format" in older:
        parser.add_argument("--format", choices=formats, dest="output", help=argparse.SUPPRESS)
    if "--json" in older:
        parser.add_argument("--json", action="store_const", const=JSON, dest="output", help=argparse.SUPPRESS)


def add_destination(parser: CommandParser, group: argparse._MutuallyExclusiveGroup, what: str) -> None:
    """Add `-o/--output` and, to a group with the other destinations, `--to FILE`, which `--output FILE` stood for."""
    group.add_argument(
        "--to", metavar="FILE", type=file_path, help=f"{what} (`-`: standard output; older spelling: --output FILE)"
    )
    parser.add_argument(
        "-o",
        "--output",
        action=_FormatOrFile,
        default=TEXT,
        metavar="FORMAT",
        help=f"the format of the report: {TEXT}, {JSON} (default: {TEXT})",
    )
    parser.set_defaults(output_file=None)
    parser.checks.append(_one_destination)


class _FormatOrFile(argparse.Action):
    """Takes a format, or the name of a file as earlier releases did.

    A bare word is a format: `-o yaml` is refused, and a file of that name is `./yaml`, or for --to.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if values in (TEXT, JSON):
            namespace.output = values
            return
        if str(values).isalpha():
            names = "/".join(self.option_strings)
            parser.error(f"{names}: {values!r} is not one of {TEXT}, {JSON}; a file of that name: --to {values}")
        try:
            namespace.output_file = file_path(str(values))
        except argparse.ArgumentTypeError as error:
            parser.error(f"{option_string}: {error}")


def _one_destination(arguments: argparse.Namespace) -> None:
    """Take the file of the older spelling for `--to`. Raises WrongUsage when there is another destination."""
    if arguments.output_file is None:
        return
    for name in ("to", "write", "diff"):
        if getattr(arguments, name, None):
            raise WrongUsage(f"--output FILE cannot be combined with --{name}")
    arguments.to = arguments.output_file


def add_color(parser: argparse.ArgumentParser) -> None:
    """Add `--color`, for commands with colours. It precedes NO_COLOR, CLICOLOR_FORCE and TERM."""
    parser.add_argument(
        "--color", choices=WHEN, default=AUTO, metavar="WHEN", help=f"colours: {', '.join(WHEN)} (default: {AUTO})"
    )


def add_agent(parser: argparse._ActionsContainer) -> None:
    """Add `--agent`, for commands that ask the agent on this machine."""
    parser.add_argument(
        "--agent",
        metavar="ADDRESS",
        help=f"the agent's URL or host:port (default: AGENT_HTTP_LISTEN, else {AGENT_URL})",
    )


def add_registry(parser: argparse.ArgumentParser) -> None:
    """Add `--registry`, for commands that ask the registry itself."""
    parser.add_argument(
        "--registry",
        metavar="ADDRESS",
        help=f"the registry's URL or host:port (default: the first in REGISTRY_URL, else {REGISTRY_URL})",
    )
