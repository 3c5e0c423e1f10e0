"""Show why each instance of a service is or is not in the answers on this machine.

`in`: lookups return it. `leaving`: it drains, and only SRV still names it. `out`: no answer names it. ANSWERS lists
the answers that name it: http, and the DNS types a, aaaa and srv.
"""

from __future__ import annotations

import argparse
import sys
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from cli.client import Unreachable, agent_url, get, said_by, service_name
from cli.commands.resolve import exit_code
from cli.exit_codes import EXIT_CODES, FAILED, NOT_FOUND, OK
from cli.options import JSON, add_agent, add_output
from cli.parser import plain_text, service
from cli.table import aligned

FILTERS: Final = ("tag", "version", "zone", "status")
SOURCES: Final = {
    "view": "the registry",
    "snapshot": "a snapshot on disk; the registry has not answered yet",
    "own": "this agent, whose own service it is; the registry does not have it",
    "environment": "the environment of the agent",
    "file": "AGENT_STATIC_FILE",
}
EPILOG: Final = f"""examples:
  vertice explain parcel_tracker
  vertice explain parcel_tracker --tag canary --version 1.4
  vertice explain parcel_tracker -o json | jq '.instances[] | select(.verdict == "out") | .why'

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice explain`."""
    parser.add_argument("name", metavar="NAME", type=service, help="the service, as registered or as in DNS")
    for name in FILTERS:
        parser.add_argument(f"--{name}", metavar=name.upper(), type=plain_text, help=f"as in a lookup with ?{name}=")
    add_output(parser)
    add_agent(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice explain` and return its exit code."""
    url = agent_url(arguments)
    filters = {name: value for name in FILTERS if (value := getattr(arguments, name)) is not None}
    query = f"?{urlencode(filters)}" if filters else ""
    try:
        with said_by("an agent", url):
            answer = get(url, f"/explain/{quote(service_name(arguments.name), safe='')}{query}")
            if answer.status != HTTPStatus.OK:
                print(f"vertice: {answer.message}", file=sys.stderr)
                return exit_code(answer)
            said = answer.json()
            text = answer.text() if arguments.output == JSON else "\n".join(lines(said))
            code = OK if said["found"] else NOT_FOUND if said["complete"] else FAILED
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    print(text)
    return code


def lines(said: Any) -> list[str]:
    """Return the output: the summary, its source, and a table of the instances."""
    source = SOURCES.get(said["source"])
    confirmed = f"confirmed {said['age_seconds']:.0f} s ago ({said['freshness']})"
    shown = [said["summary"], f"source: {source}, {confirmed}" if source else f"the view was {confirmed}"]
    if said["similar"]:
        shown.append(f"similar names: {', '.join(said['similar'])}")
    rows = [
        (one["verdict"], one["instance_id"], one["status"], " ".join(one["answers"]) or "-", one["why"])
        for one in said["instances"]
    ]
    return [*shown, "", *aligned([("", "INSTANCE", "STATUS", "ANSWERS", "WHY"), *rows])] if rows else shown
