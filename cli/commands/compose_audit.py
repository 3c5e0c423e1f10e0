"""Report how the services of a compose file find each other today.

The report names each hard-coded address with its line, says whether its target exists, can be reached and
listens on that port, and gives the right port if not, with the evidence. It also covers discovered names, health
checks, ports of the host, names that are equal in DNS, and which service needs which. Several files are merged as
`docker compose -f` merges them. The command changes nothing and opens no connection.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.commands.compose_zone import add_zone, with_agents_names, zones_for
from cli.compose.audit import audit
from cli.compose.errors import ComposeError
from cli.compose.findings import AuditSeverity
from cli.compose.reader import read_project
from cli.compose.report import dot_of, json_of, text_of
from cli.main import FAILED, OK, USAGE

EPILOG: Final = """examples:
  vertice compose audit compose.yml
  vertice compose audit compose.yml compose.override.yml --format json | jq .counts
  vertice compose audit compose.yml --format dot | dot -Tsvg > fleet.svg

exit codes:
  0    no finding has severity `error`
  1    at least one has
  2    wrong usage, or the files cannot be used"""


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the compose files."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a compose file; later ones override earlier ones"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice compose audit`."""
    add_files(parser)
    add_zone(parser)
    parser.add_argument(
        "--format", choices=("text", "json", "dot"), default="text", help="the output format; default text"
    )


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice compose audit` and return its exit code."""
    try:
        project = with_agents_names(arguments.files[0], read_project(arguments.files, environment), environment)
        found = audit(project, zones_for(arguments.files[0], project, arguments.zone, environment))
    except ComposeError as error:
        print(f"vertice: {error.hinted}", file=sys.stderr)
        return USAGE
    match arguments.format:
        case "json":
            print(json.dumps(json_of(found), indent=2))
        case "dot":
            print("\n".join(dot_of(found)))
        case _:
            print("\n".join(text_of(found)))
    return FAILED if found.count(AuditSeverity.ERROR) else OK
