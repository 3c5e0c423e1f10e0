"""Print the address of a service: one of its healthy instances, chosen at random by weight."""

from __future__ import annotations

import argparse
import json
import re
import sys
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from cli.client import HttpResponse, Unreachable, agent_url, get, service_name, warn_of_age
from cli.exit_codes import EXIT_CODES, FAILED, NOT_FOUND, OK, USAGE
from cli.options import JSON, TEXT, add_agent, add_output
from cli.parser import service
from cli.terminal import printable

_ADDRESS: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(?:\[[0-9a-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}", re.ASCII)
# The text is the URL.
FORMATS: Final = (TEXT, "url", "hostport", JSON)
EPILOG: Final = f"""examples:
  vertice resolve parcel_tracker                       http://127.77.0.3:8034
  vertice resolve parcel-tracker -o hostport           127.77.0.4:8034  ('_' and '-' are the same)
  vertice resolve parcel_tracker -o json | jq .metadata
  vertice resolve Parcel-Tracker.vertice.internal.     the name as in DNS
  curl "$(vertice resolve parcel_tracker)/health"

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice resolve`."""
    parser.add_argument("name", metavar="NAME", type=service, help="the service, as registered or as in DNS")
    add_output(parser, formats=FORMATS, older=("--json", "--format"))
    add_agent(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice resolve` and return its exit code."""
    url, name = agent_url(arguments), service_name(arguments.name)
    form = "url" if arguments.output == TEXT else arguments.output
    query = "" if form == JSON else f"?format={form}"
    try:
        answer = get(url, f"/resolve/{quote(name, safe='')}{query}")
        if answer.status != HTTPStatus.OK:
            print(f"vertice: {answer.message}{_similar(url, name, answer)}", file=sys.stderr)
            return exit_code(answer)
        text = _shown(answer, form)
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    warn_of_age(answer)
    print(text)
    return OK


def _shown(answer: HttpResponse, form: str) -> str:
    """Return what to print for an answer. Raises Unreachable when it is no instance, as from another server."""
    if form == JSON:
        found = answer.json()
        if isinstance(found, dict) and "host" in found:
            return json.dumps(found, indent=2)
    else:
        text = answer.text().strip()
        if _ADDRESS.fullmatch(text):
            return text
    raise Unreachable("the answer is no address of a service: is this the address of an agent?")


def _similar(url: str, name: str, refusal: HttpResponse) -> str:
    """Return a hint with the services whose names are spelled almost like an unknown one."""
    if not refusal.is_not_found:
        return ""
    try:
        similar = [str(each) for each in get(url, f"/explain/{quote(name, safe='')}").json()["similar"]]
    except (Unreachable, KeyError, TypeError):
        return ""
    return printable(f" (did you mean {' or '.join(similar)}?)") if similar else ""


def exit_code(answer: HttpResponse) -> int:
    """Return the exit code for an error response."""
    if answer.is_not_found:
        return NOT_FOUND
    return USAGE if answer.status == HTTPStatus.BAD_REQUEST else FAILED
