"""Order the services of a compose file in waves: the plan of a migration.

A pilot comes first; then, wave by wave, services on which few others depend before services on which many do. Services
that depend on each other in a circle stay together. The command changes nothing and opens no connection.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Final

from cli.commands.migrate import add_waves, fleet_of
from cli.compose.errors import ComposeError
from cli.compose.waves import By, plan_json, plan_text
from cli.exit_codes import OK, USAGE, exit_codes
from cli.options import JSON

EPILOG: Final = f"""examples:
  vertice migrate plan compose.yml
  vertice migrate plan compose.yml --by category -o json

{exit_codes(failed="")}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice migrate plan`."""
    add_waves(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice migrate plan` and return its exit code."""
    try:
        waves = fleet_of(arguments, environment).waves
    except ComposeError as error:
        print(f"vertice: {error.hinted}", file=sys.stderr)
        return USAGE
    if arguments.output == JSON:
        print(json.dumps(plan_json(waves, By(arguments.by)), indent=2))
    else:
        print("\n".join(plan_text(waves)))
    return OK
