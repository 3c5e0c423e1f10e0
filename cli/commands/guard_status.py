"""Show the guard against mass expiry: a line for each shard of the registry's store.

When too many instances fall silent at once, the registry keeps them in the answers as suspect, for five minutes at
most.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Final

from cli.commands.guard import tell
from cli.exit_codes import exit_codes
from cli.options import add_output, add_registry

EPILOG: Final = f"""examples:
  vertice guard status
  vertice guard status -o json | jq -r '.shards[] | select(.phase != "watching") | .shard'

{exit_codes()}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice guard status`."""
    add_output(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice guard status` and return its exit code."""
    return tell("GET", "/guard", arguments, environment)
