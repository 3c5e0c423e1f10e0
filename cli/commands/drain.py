"""Drain a service of this machine: it finishes its work and gets no new clients.

The service must belong to the agent on this machine. It stays registered and leaves the answers of every
agent; the command shows how many agents have acknowledged that. The agent drains its services by itself when
it is stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from cli.client import HttpResponse, Unreachable, add_agent_flag, agent_url, ask
from cli.commands.resolve import exit_code
from cli.main import EXIT_CODES, FAILED, OK

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
    parser.add_argument("what", metavar="SERVICE[/INSTANCE]", help="a service of the agent on this machine")
    parser.add_argument("--undo", action="store_true", help="put it back into use")
    parser.add_argument(
        "--timeout", type=_seconds, default=LIMIT_S, metavar="SECONDS", help=f"how long to wait (default: {LIMIT_S:g})"
    )
    add_agent_flag(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice drain` and return its exit code."""
    url = agent_url(arguments)
    service, _, instance = arguments.what.partition("/")
    path = f"/drain?service={quote(service, safe='')}"
    path += f"&instance={quote(instance, safe='')}" if instance else ""
    try:
        answer = ask("DELETE" if arguments.undo else "POST", url, path)
        if answer.status != HTTPStatus.OK:
            return _refused(answer)
        if arguments.undo:
            for one in answer.json()["services"]:
                print(f"{_name(one)}: back in use" if one["held"] is None else f"{_name(one)}: still {one['held']}")
            return OK
        return _follow(url, path, arguments.timeout)
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
    except (KeyError, TypeError):
        print(f"vertice: {url} answers, but is not an agent", file=sys.stderr)
    return FAILED


def _follow(url: str, path: str, limit_s: float) -> int:
    """Show the progress of the drain until every agent has acknowledged it, or the time is up."""
    ends = time.monotonic() + limit_s
    shown: list[str] = []
    while True:
        answer = ask("GET", url, path)
        if answer.status != HTTPStatus.OK:
            return _refused(answer)
        services = answer.json()["services"]
        said = [line(one) for one in services]
        for text in said:
            if text not in shown:
                print(text, flush=True)
        shown = said
        if all(one["done"] for one in services):
            return OK
        if time.monotonic() >= ends:
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
    return f"{_name(one)}: draining, {count}" + (f"; {silent} registries do not answer" if silent else "")


def _name(one: Any) -> str:
    return f"{one['service_name']}/{one['instance_id']}"


def _refused(answer: HttpResponse) -> int:
    print(f"vertice: {answer.message}", file=sys.stderr)
    return exit_code(answer)


def _seconds(value: str) -> float:
    seconds = float(value)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("it must be a number of seconds")
    return seconds
