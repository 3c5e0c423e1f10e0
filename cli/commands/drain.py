"""Drain a service of this machine: it finishes its work and gets no new clients.

The service must belong to the agent on this machine. It stays registered and leaves the answers of every
agent; the command shows how many agents have acknowledged that. The agent drains its services by itself when
it is stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from cli.client import HttpResponse, Unreachable, agent_url, ask, local_credentials, said_by, service_name
from cli.commands.resolve import exit_code
from cli.exit_codes import EXIT_CODES, FAILED, OK
from cli.options import JSON, add_agent, add_output
from cli.parser import WrongUsage, service_instance, value
from cli.plurals import counted
from registry_core.settings import seconds

EVERY_S: Final = 0.2
LIMIT_S: Final = 30.0
# How long a client keeps an address that it got from DNS.
TTL_S: Final = 5
EPILOG: Final = f"""examples:
  vertice drain parcel_tracker                      all its instances of this agent
  vertice drain parcel_tracker/10.0.0.7:8034        one instance
  vertice drain parcel_tracker && sleep {TTL_S} && docker stop tracker
  vertice drain parcel_tracker --undo               put it back into use

A drained service stays drained until --undo, or until the agent ends. Ctrl-C ends only the waiting.

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice drain`."""
    parser.add_argument(
        "what", metavar="SERVICE[/INSTANCE]", type=service_instance, help="a service of the agent on this machine"
    )
    parser.add_argument("--undo", action="store_true", help="put it back into use")
    parser.add_argument(
        "--timeout",
        type=value(seconds),
        metavar="SECONDS",
        help=f"how long to wait (default: {LIMIT_S:g})",
    )
    add_output(parser, older=())
    add_agent(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice drain` and return its exit code. Raises WrongUsage, SettingsError."""
    if arguments.undo and arguments.timeout is not None:
        raise WrongUsage("--timeout has no effect with --undo, which does not wait")
    url, headers = agent_url(arguments), local_credentials()
    service, instance = arguments.what
    path = f"/drain?service={quote(service_name(service), safe='')}"
    path += f"&instance={quote(instance, safe='')}" if instance else ""
    try:
        with said_by("an agent", url):
            answer = ask("DELETE" if arguments.undo else "POST", url, path, headers)
            if answer.status != HTTPStatus.OK:
                return _refused(answer)
            if arguments.undo:
                _show_undone(answer.json(), as_json=arguments.output == JSON)
                return OK
            limit_s = LIMIT_S if arguments.timeout is None else arguments.timeout
            return _follow(url, path, headers, limit_s, as_json=arguments.output == JSON)
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
    return FAILED


def _show_undone(said: Any, *, as_json: bool) -> None:
    lines = [
        f"{_name(one)}: back in use" if one["held"] is None else f"{_name(one)}: still {one['held']}"
        for one in said["services"]
    ]
    print(json.dumps(said) if as_json else "\n".join(lines))


def _follow(url: str, path: str, headers: Mapping[str, str], limit_s: float, *, as_json: bool) -> int:
    """Show the progress of the drain until every agent has acknowledged it, or the time is up; as JSON, its end."""
    ends = time.monotonic() + limit_s
    shown: list[str] = []
    while True:
        answer = ask("GET", url, path, headers)
        if answer.status != HTTPStatus.OK:
            return _refused(answer)
        state = answer.json()
        services = state["services"]
        said = [line(one) for one in services]
        for text in said:
            if text not in shown and not as_json:
                print(text, flush=True)
        shown = said
        done, late = all(one["done"] for one in services), time.monotonic() >= ends
        if as_json and (done or late):
            print(json.dumps(state))
        if done:
            return OK
        if late:
            print(f"vertice: not all agents acknowledged within {limit_s:g} s; the drain continues", file=sys.stderr)
            return FAILED
        time.sleep(EVERY_S)


def line(one: Any) -> str:
    """Return the state of one service."""
    if one["registered_status"] != "draining":
        return f"{_name(one)}: waiting for the registry to confirm"
    count = f"acknowledged {one['acknowledged']} of {one['watchers']}"
    if one["done"]:
        return f"{_name(one)}: drained, {count}; earlier DNS answers expire in {TTL_S} s"
    silent = one["silent_registries"]
    unknown = f"; no answer from {counted(silent, 'registry', 'registries')}" if silent else ""
    return f"{_name(one)}: draining, {count}{unknown}"


def _name(one: Any) -> str:
    return f"{one['service_name']}/{one['instance_id']}"


def _refused(answer: HttpResponse) -> int:
    print(f"vertice: {answer.message}", file=sys.stderr)
    return exit_code(answer)
