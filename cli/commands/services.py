"""List the services that the agent on this machine knows: how many instances each has, how they are, and where.

A service whose instances the agent does not hold, in a fleet that exceeds its limits, is listed by name.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from cli.client import HttpResponse, Unreachable, agent_url, get, said_by, warn_of_age
from cli.exit_codes import FAILED, OK, exit_codes
from cli.options import JSON, TEXT, add_agent, add_output
from cli.table import aligned
from cli.terminal import printable

NAMES: Final = "names"
# The older `--json` printed names alone; programs rely on it.
NAMES_AS_JSON: Final = "names-as-json"
HEADINGS: Final = ("SERVICE", "INSTANCES", "HEALTH", "WHERE")
SHOWN_ADDRESSES: Final = 3
EPILOG: Final = f"""examples:
  vertice services
  vertice services -o names | while read -r name; do vertice resolve "$name"; done
  vertice services -o json | jq '.[] | select(.statuses.critical) | .service_name'
  vertice services --agent 127.0.0.1:9880

The older `--json` prints an array of the names alone.

{exit_codes()}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice services`."""
    add_output(parser, formats=(TEXT, NAMES, JSON), older=())
    parser.add_argument("--json", action="store_const", const=NAMES_AS_JSON, dest="output", help=argparse.SUPPRESS)
    add_agent(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice services` and return its exit code. Raises SettingsError."""
    url = agent_url(arguments)
    try:
        with said_by("an agent", url):
            answer = get(url, "/services?summary=true")
            if answer.status == HTTPStatus.BAD_REQUEST:  # an agent of an earlier release, which has names alone
                answer = get(url, "/services")
            if answer.status != HTTPStatus.OK:
                print(f"vertice: {answer.message}", file=sys.stderr)
                return FAILED
            text = _text(_summaries(answer), arguments.output)
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    warn_of_age(answer)
    if text:
        print(text)
    else:
        print("vertice: no service is registered", file=sys.stderr)
    return OK


def _summaries(answer: HttpResponse) -> list[dict[str, Any]]:
    """Return the summary of each service. Raises Unreachable; TypeError when the answer is no list."""
    found = answer.json()
    if not isinstance(found, list):
        raise TypeError("it is not a list")
    return [{"service_name": each, "held": False} if isinstance(each, str) else each for each in found]


def _text(summaries: Sequence[Mapping[str, Any]], form: str) -> str:
    names = [str(each["service_name"]) for each in summaries]
    if form == JSON:
        return json.dumps(summaries, indent=2)
    if form == NAMES_AS_JSON:
        return json.dumps(names)
    if form == NAMES or not names:
        return "\n".join(map(printable, names))
    return "\n".join(aligned([HEADINGS, *map(row, summaries)], right=(1,)))


def row(summary: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return the row of one service."""
    name = printable(str(summary["service_name"]))
    if not summary["held"]:
        return name, "-", "-", "-"
    statuses: Mapping[str, int] = summary["statuses"]
    count = summary["instances"]
    # Of one status alone, the number stands in the column before.
    health = ", ".join(statuses) if len(statuses) == 1 else ", ".join(f"{n} {status}" for status, n in statuses.items())
    addresses = [str(endpoint).partition("://")[2] for endpoint in summary["endpoints"]]
    shown = addresses[:SHOWN_ADDRESSES]
    more = count - len(shown)
    where = ", ".join([*shown, *([f"{more} more"] if more > 0 else [])])
    return name, str(count), printable(health), printable(where)
