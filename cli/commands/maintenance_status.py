"""Show which services of this machine an operator holds out of use, in maintenance or draining."""

from __future__ import annotations

import argparse
from typing import Final

from cli.commands.maintenance import add_what, tell
from cli.exit_codes import EXIT_CODES

EPILOG: Final = f"""examples:
  vertice maintenance status
  vertice maintenance status -o json | jq -r '.services[] | select(.held) | .service_name'

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice maintenance status`."""
    add_what(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice maintenance status` and return its exit code. Raises SettingsError."""
    return tell("GET", arguments)
