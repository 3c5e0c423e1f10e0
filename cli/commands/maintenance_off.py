"""End the maintenance of services of this machine: their checks decide again.

A service that drains goes on draining.
"""

from __future__ import annotations

import argparse
from typing import Final

from cli.commands.maintenance import add_what, tell
from cli.exit_codes import EXIT_CODES

EPILOG: Final = f"""examples:
  vertice maintenance off                              all services of this agent
  vertice maintenance off parcel_tracker

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice maintenance off`."""
    add_what(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice maintenance off` and return its exit code. Raises SettingsError."""
    return tell("DELETE", arguments)
