"""Revoke a key: from now on no registry accepts it."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from typing import Final

from cli.commands.keys import add_file, now, opened, told
from cli.exit_codes import OK, exit_codes
from cli.options import JSON, add_output
from cli.parser import CommandParser, plain_text
from registry_core.security.issued_keys import ended

EPILOG: Final = f"""examples:
  vertice keys revoke k-3f6a90c1d2e4

A registry reads the file of keys again within seconds.

{exit_codes(failed="failed: the file could not be written", finds=True)}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice keys revoke`."""
    parser.add_argument("id", metavar="ID", type=plain_text, help="the id of the key, as `vertice keys list` shows it")
    add_output(parser)
    add_file(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice keys revoke` and return its exit code."""
    with told() as failure:
        file = opened(arguments, environment)
        file.write(ended(file.keys, arguments.id, now()))
        print(json.dumps({"id": arguments.id}) if arguments.output == JSON else f"revoked {arguments.id}")
    return OK if failure.code is None else failure.code
