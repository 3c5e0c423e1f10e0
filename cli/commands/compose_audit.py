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
from typing import Final

from cli.commands.compose_zone import add_zone, with_agents_names, zones_for
from cli.compose.audit import audit
from cli.compose.errors import ComposeError
from cli.compose.findings import AuditSeverity
from cli.compose.reader import read_project
from cli.compose.report import dot_of, json_of, text_of
from cli.exit_codes import FAILED, OK, USAGE, exit_codes
from cli.options import JSON, TEXT, add_output
from cli.parser import file_path

DOT: Final = "dot"
EPILOG: Final = f"""examples:
  vertice compose audit compose.yml
  vertice compose audit compose.yml compose.override.yml -o json | jq .counts
  vertice compose audit compose.yml -o dot | dot -Tsvg > fleet.svg

{exit_codes(done="no finding has severity `error`", failed="at least one has")}"""


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the compose files."""
    parser.add_argument(
        "files", nargs="+", type=file_path, metavar="FILE", help="a compose file; later ones override earlier ones"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice compose audit`."""
    add_files(parser)
    add_zone(parser)
    add_output(parser, formats=(TEXT, JSON, DOT), older=("--format",))


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice compose audit` and return its exit code."""
    try:
        project = with_agents_names(arguments.files[0], read_project(arguments.files, environment), environment)
        found = audit(project, zones_for(arguments.files[0], project, arguments.zone, environment))
    except ComposeError as error:
        print(f"vertice: {error.hinted}", file=sys.stderr)
        return USAGE
    if arguments.output == JSON:
        print(json.dumps(json_of(found), indent=2))
    else:
        print("\n".join(dot_of(found) if arguments.output == DOT else text_of(found)))
    return FAILED if found.count(AuditSeverity.ERROR) else OK
