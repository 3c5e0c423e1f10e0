"""List the services and certificates that a registry denies, and until when."""

from __future__ import annotations

import argparse
from typing import Final

from cli.ca.denials import tell
from cli.exit_codes import exit_codes
from cli.options import add_output, add_registry
from cli.parser import CommandParser

EPILOG: Final = f"""examples:
  vertice ca denied
  vertice ca denied -o json | jq -r '.denied[].subject'

{exit_codes()}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice ca denied`."""
    add_output(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice ca denied` and return its exit code. Raises SettingsError."""
    return tell("GET", arguments)
