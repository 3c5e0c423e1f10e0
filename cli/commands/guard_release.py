"""Release the guard against mass expiry: confirm that the silent instances are really gone.

They then leave the answers, a few at a time.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from cli.commands.guard import tell
from cli.exit_codes import EXIT_CODES
from cli.options import add_output, add_registry
from cli.parser import plain_text
from registry_core.shared_secret import SECRET

EPILOG: Final = f"""examples:
  vertice guard release
  vertice guard release --shard a --registry 10.0.0.2:8888

The secret in {SECRET.name} is sent to the registry.

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice guard release`."""
    parser.add_argument("--shard", metavar="NAME", type=plain_text, help="only this shard (default: all)")
    add_output(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice guard release` and return its exit code."""
    query = "" if arguments.shard is None else f"?shard={quote(arguments.shard, safe='')}"
    return tell("POST", f"/guard/release{query}", arguments, environment)
