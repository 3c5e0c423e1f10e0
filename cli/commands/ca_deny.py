"""Deny all certificates of a service, or one certificate, at all replicas of a registry.

A denied service gets no certificates, and those that it has are refused where the registry is asked by mutual TLS. A
denied certificate is replaced by its agent within minutes, with a new key. A denial ends after 90 days, when the last
certificate that it may be about has ended.
"""

from __future__ import annotations

import argparse
from typing import Final

from cli.ca.denials import add_subject, change
from cli.exit_codes import EXIT_CODES
from cli.parser import CommandParser, plain_text
from registry_core.shared_secret import SECRET

EPILOG: Final = f"""examples:
  vertice ca deny billing --reason "key found in a public image"
  vertice ca deny --serial 0AB1CD2E3F405162738495A6B7C8D9EA

The secret in {SECRET.name} is sent to the registry.

{EXIT_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice ca deny`."""
    add_subject(parser)
    parser.add_argument("--reason", metavar="TEXT", type=plain_text, help="why; it is shown in the list")


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice ca deny` and return its exit code. Raises SettingsError."""
    return change(arguments, reason=arguments.reason or "")
