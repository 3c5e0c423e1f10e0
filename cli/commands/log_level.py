"""Show or change at which levels an agent or a registry logs, while it runs.

It asks the agent on this machine, or with --registry a replica. A level holds for a component and what is below it
(`dns` and `dns.forwarding`), until the program restarts or gets SIGHUP.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from cli.client import Unreachable, agent_url, ask, local_credentials, registry_url, said_by, signer_in
from cli.exit_codes import EXIT_CODES, FAILED, NOT_FOUND, OK
from cli.options import JSON, add_agent, add_output
from cli.parser import CommandParser, WrongUsage, plain_text
from cli.terminal import printable
from registry_core.shared_secret import SECRET
from registry_core.telemetry.log_levels import LEVELS

# What --registry means without an address.
FIRST_REGISTRY: Final = ""
EPILOG: Final = f"""examples:
  vertice log-level                              show the levels of the agent
  vertice log-level debug                        everything
  vertice log-level dns.forwarding debug         one component
  vertice log-level --reset                      the levels of the settings again
  vertice log-level store.redis debug --registry 10.0.0.2:8888

To a registry the secret in {SECRET.name} is sent. Behind a load balancer, name the replica itself.

{EXIT_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice log-level`."""
    parser.add_argument(
        "component", metavar="COMPONENT", type=plain_text, nargs="?", help="the component (default: everything)"
    )
    parser.add_argument("level", metavar="LEVEL", type=plain_text, nargs="?", help=f"the level: {', '.join(LEVELS)}")
    parser.add_argument("--reset", action="store_true", help="use the levels of the settings again")
    add_output(parser, older=())
    where = parser.add_mutually_exclusive_group()
    add_agent(where)
    where.add_argument(
        "--registry",
        metavar="ADDRESS",
        nargs="?",
        const=FIRST_REGISTRY,
        help="ask a replica instead: its URL or host:port (without an address: the first in REGISTRY_URL)",
    )
    parser.checks += [_reset_alone, _known_level]


def _reset_alone(arguments: argparse.Namespace) -> None:
    if arguments.reset and arguments.component is not None:
        raise WrongUsage("--reset takes no component and no level: it resets all levels")


def _known_level(arguments: argparse.Namespace) -> None:
    component, level = arguments.component, arguments.level
    # One word is a level, for everything.
    given = component if level is None else level
    if given is not None and given.lower() not in LEVELS:
        known = ", ".join(LEVELS)
        hint = f"; one component: vertice log-level {printable(component)} debug" if level is None else ""
        raise WrongUsage(f"{printable(given)!r} is no level, which are {known}{hint}")


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice log-level` and return its exit code. Raises SettingsError."""
    whom, url, headers, signer = "an agent", "", {}, None
    if arguments.registry is None:
        url, headers = agent_url(arguments), local_credentials(environment)
    else:
        arguments.registry = arguments.registry or None
        whom, url, signer = "a registry", registry_url(arguments, environment), signer_in(environment)
    method, path = _request(arguments)
    try:
        with said_by(whom, url):
            answer = ask(method, url, path, headers, signer=signer)
            if answer.status != HTTPStatus.OK:
                print(f"vertice: {answer.message}", file=sys.stderr)
                return NOT_FOUND if answer.is_not_found else FAILED
            said = answer.json()
            text = json.dumps(said, indent=2) if arguments.output == JSON else "\n".join(_lines(said))
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    print(text)
    return OK


def _request(arguments: argparse.Namespace) -> tuple[str, str]:
    component, level = arguments.component, arguments.level
    if arguments.reset:
        return "DELETE", "/log-level"
    if component is None:
        return "GET", "/log-level"
    if level is None:
        return "PUT", f"/log-level?{urlencode({'level': component})}"
    return "PUT", f"/log-level?{urlencode({'component': component, 'level': level})}"


def _lines(said: Any) -> Iterator[str]:
    yield printable(f"levels: {said['levels']}")
    if said["configured"] != said["levels"]:
        yield printable(f"by the settings, and after a restart: {said['configured']}")
    yield printable(f"components: {', '.join(said['known'])}")
