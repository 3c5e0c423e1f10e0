"""List the issued keys: whose each is, and until when it is valid. It never shows a secret."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from typing import Final

from cli.commands.keys import add_file, now, opened, row_of, told
from cli.exit_codes import OK, exit_codes
from cli.options import JSON, add_output
from cli.parser import CommandParser
from cli.table import aligned

EPILOG: Final = f"""examples:
  vertice keys list
  vertice keys list -o json | jq -r '.[] | select(.valid) | .holder'

{exit_codes(failed="failed: the file could not be read")}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice keys list`."""
    add_output(parser)
    add_file(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice keys list` and return its exit code."""
    with told() as failure:
        at = now()
        rows = [row_of(key, at) for key in opened(arguments, environment).keys]
        if arguments.output == JSON:
            print(json.dumps(rows, indent=2))
        elif rows:
            shown = [
                (row["id"], row["holder"], "valid" if row["valid"] else "ended", row["issued"], row["expires"] or "-")
                for row in rows
            ]
            print("\n".join(aligned([("ID", "HOLDER", "STATE", "ISSUED", "ENDS"), *shown])))
    return OK if failure.code is None else failure.code
