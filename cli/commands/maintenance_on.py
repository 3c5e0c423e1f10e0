"""Put services of this machine into maintenance: no answer names them, whatever their checks say.

They stay registered, and stay in maintenance until `vertice maintenance off`, or until the agent ends. Clients that
use one now are cut off from it in their next lookup; `vertice drain` lets them finish first.
"""

from __future__ import annotations

import argparse
from typing import Final

from cli.commands.maintenance import add_what, tell
from cli.exit_codes import EXIT_CODES

EPILOG: Final = f"""examples:
  vertice maintenance on                               all services of this agent
  vertice maintenance on parcel_tracker
  vertice maintenance on parcel_tracker/10.0.0.7:8034  one instance

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice maintenance on`."""
    add_what(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice maintenance on` and return its exit code. Raises SettingsError."""
    return tell("POST", arguments)
