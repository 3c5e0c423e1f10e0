"""The shared parts of `vertice maintenance`: one request to the agent about its own services, and its answer."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from cli.client import Unreachable, agent_url, ask, local_credentials, said_by, service_name
from cli.commands.resolve import exit_code
from cli.exit_codes import FAILED, OK
from cli.options import JSON, add_agent, add_output
from cli.parser import service_instance
from cli.terminal import printable

MAINTENANCE: Final = "maintenance"


def add_what(parser: argparse.ArgumentParser) -> None:
    """Add the service, and the options of every request."""
    parser.add_argument(
        "what",
        metavar="SERVICE[/INSTANCE]",
        type=service_instance,
        nargs="?",
        help="a service of the agent (default: all)",
    )
    add_output(parser, older=())
    add_agent(parser)


def tell(method: str, arguments: argparse.Namespace) -> int:
    """Send one request about maintenance, print the states that it leads to, and return the exit code."""
    url, headers = agent_url(arguments), local_credentials()
    service, instance = arguments.what or ("", "")
    named = {"service": service_name(service), "instance": instance}
    query = urlencode({name: value for name, value in named.items() if value})
    try:
        with said_by("an agent", url):
            answer = ask(method, url, f"/maintenance?{query}" if query else "/maintenance", headers)
            if answer.status != HTTPStatus.OK:
                print(f"vertice: {answer.message}", file=sys.stderr)
                return exit_code(answer)
            said = answer.json()
            text = json.dumps(said, indent=2) if arguments.output == JSON else "\n".join(lines(said))
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    if text:
        print(text)
    else:
        print("vertice: this agent has no services", file=sys.stderr)
    return OK


def lines(said: Any) -> Iterator[str]:
    """Return a line for each service."""
    for one in said["services"]:
        held, registered = one["held"], one["registered_status"] or "not registered"
        state = "in use" if held is None else f"in {held}" if held == MAINTENANCE else str(held)
        # The registry is told a moment after the agent.
        known = "" if held in (None, registered) else f" (at the registry: {registered})"
        yield printable(f"{one['service_name']}/{one['instance_id']}: {state}{known}")
