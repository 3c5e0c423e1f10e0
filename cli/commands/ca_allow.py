"""Withdraw a denial: certificates of the service are issued and accepted again, also those that were denied.

Deny the serial numbers of those whose keys are lost before you allow their service.
"""

from __future__ import annotations

import argparse
from typing import Final

from cli.ca.denials import add_subject, change
from cli.exit_codes import EXIT_CODES
from cli.parser import CommandParser
from registry_core.shared_secret import SECRET

EPILOG: Final = f"""examples:
  vertice ca allow billing

The secret in {SECRET.name} is sent to the registry.

{EXIT_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice ca allow`."""
    add_subject(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice ca allow` and return its exit code. Raises SettingsError."""
    return change(arguments, withdraw=True)
