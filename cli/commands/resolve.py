"""Print the address of a service: one of its healthy instances, chosen at random by weight."""

from __future__ import annotations

import argparse
import json
import sys
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from cli.client import HttpResponse, Unreachable, agent_url, get, warn_of_age
from cli.exit_codes import EXIT_CODES, FAILED, NOT_FOUND, OK, USAGE
from cli.options import JSON, TEXT, add_agent, add_output

# The text is the URL.
FORMATS: Final = (TEXT, "url", "hostport", JSON)
EPILOG: Final = f"""examples:
  vertice resolve parcel_tracker                       http://127.77.0.3:8034
  vertice resolve parcel-tracker -o hostport           127.77.0.4:8034  ('_' and '-' are the same)
  vertice resolve parcel_tracker -o json | jq .metadata
  curl "$(vertice resolve parcel_tracker)/health"

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice resolve`."""
    parser.add_argument("name", metavar="NAME", help="the service")
    add_output(parser, formats=FORMATS, older=("--json", "--format"))
    add_agent(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice resolve` and return its exit code."""
    form = "url" if arguments.output == TEXT else arguments.output
    query = "" if form == JSON else f"?format={form}"
    try:
        answer = get(agent_url(arguments), f"/resolve/{quote(arguments.name, safe='')}{query}")
        if answer.status != HTTPStatus.OK:
            print(f"vertice: {answer.message}", file=sys.stderr)
            return exit_code(answer)
        text = json.dumps(answer.json(), indent=2) if form == JSON else answer.text().strip()
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    warn_of_age(answer)
    print(text)
    return OK


def exit_code(answer: HttpResponse) -> int:
    """Return the exit code for an error response."""
    if answer.status == HTTPStatus.NOT_FOUND:
        return NOT_FOUND
    return USAGE if answer.status == HTTPStatus.BAD_REQUEST else FAILED
