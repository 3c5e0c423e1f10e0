"""Show who uses which service: which consumers asked their agents for it, how often, and when last.

A consumer is an agent, by the names of its services: several services behind one agent are one consumer. Only names
that are looked up are seen, by agents of this release and at the registry itself; who keeps an address, or reads the
whole catalogue, is not.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from cli.client import Unreachable, ask, registry_url, service_name, signer_in
from cli.compose.errors import ComposeError
from cli.durations import lasting
from cli.exit_codes import FAILED, NOT_FOUND, OK, USAGE, exit_codes
from cli.options import JSON, TEXT, add_output, add_registry
from cli.parser import CommandParser, WrongUsage, file_path, service, value
from cli.usage.declared import declared_edges
from cli.usage.graph import dot_lines, edges_of, graph_lines
from cli.usage.text import observation_lines, reasons_against, unused_lines, usage_lines
from registry_core.bodies import decoded
from registry_core.domain.names import label_of
from registry_core.settings import positive_seconds
from registry_core.usage.views import UsageVerdict, UsageView

DOT: Final = "dot"
# Of `--safe-to-delete`: as long as a job may wait that runs once a week.
SAFE_WITHIN_S: Final = 7 * 86_400.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
ANSWER_S: Final = 10.0
_DAYS: Final = re.compile(r"(\d{1,4})\s*d", re.ASCII)

EPILOG: Final = f"""examples:
  vertice usage
  vertice usage billing --within 1h
  vertice usage --unused
  vertice usage --safe-to-delete billing --within 14d && docker compose rm billing
  vertice usage --graph dot | dot -Tsvg > usage.svg
  vertice usage --graph text --compose compose.yml

{
    exit_codes(
        done="done; with --safe-to-delete: nobody uses it, and that is certain",
        failed="failed: no registry answers; with --safe-to-delete: it is used, or that is not certain",
        finds=True,
    )
}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice usage`."""
    parser.add_argument("service", nargs="?", type=service, metavar="SERVICE", help="only this service")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--unused", action="store_true", help="list the services that nobody asked for")
    what.add_argument(
        "--safe-to-delete", metavar="SERVICE", type=service, help="exit 0 only if it is certain that nobody uses it"
    )
    what.add_argument("--graph", choices=(TEXT, DOT), metavar="FORMAT", help="the observed dependencies: text, dot")
    parser.add_argument(
        "--compose",
        action="append",
        type=file_path,
        metavar="FILE",
        help="with --graph: compare with what this compose file declares; later ones override earlier ones",
    )
    parser.add_argument("--zone", help="with --compose: the DNS zone of the agents")
    parser.add_argument(
        "--within",
        metavar="TIME",
        type=value(_within, "30m, 24h, 14d"),
        help="only what was asked within this time (default: all that was observed; for --safe-to-delete "
        f"{lasting(SAFE_WITHIN_S)})",
    )
    add_output(parser, older=())
    add_registry(parser)
    parser.checks.append(_fits_together)


def _within(given: str) -> float:
    days = _DAYS.fullmatch(given.strip())
    return float(days[1]) * 86_400 if days is not None else positive_seconds(given)


def _fits_together(arguments: argparse.Namespace) -> None:
    if arguments.compose and not arguments.graph:
        raise WrongUsage("--compose: it compares a graph", field="--compose", example="--graph text --compose FILE")
    if arguments.service and (arguments.unused or arguments.safe_to_delete):
        raise WrongUsage("SERVICE: the option names what is asked about", field="SERVICE", example="vertice usage NAME")


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice usage` and return its exit code. Raises SettingsError."""
    name = arguments.safe_to_delete or arguments.service
    try:
        declared = declared_edges(arguments.compose, arguments.zone, environment) if arguments.compose else None
        view = _asked(arguments, name, environment)
    except ComposeError as error:
        print(f"vertice: {error.hinted}", file=sys.stderr)
        return USAGE
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    if name and not _is_known(view):
        print(f"vertice: no service {name!r} is registered, and nobody is known to have asked for it", file=sys.stderr)
        return NOT_FOUND
    if arguments.safe_to_delete:
        return _told_whether_safe(view, as_json=arguments.output == JSON)
    if arguments.graph:
        if declared is not None and name:
            declared = [edge for edge in declared if label_of(edge.target) == label_of(name)]
        edges = edges_of(view, declared)
        if arguments.output == JSON:
            _print_json({"edges": edges, "observed": view.observed})
        else:
            print("\n".join(dot_lines(edges) if arguments.graph == DOT else graph_lines(edges, view)))
    elif arguments.output == JSON:
        if arguments.unused:
            view.usage = [one for one in view.usage if one.registered and one.verdict is not UsageVerdict.USED]
        _print_json(view)
    else:
        print("\n".join(unused_lines(view) if arguments.unused else usage_lines(view)))
    return OK


def _is_known(view: UsageView) -> bool:
    return any(one.registered or one.consumers for one in view.usage)


def _asked(arguments: argparse.Namespace, name: str | None, environment: Mapping[str, str]) -> UsageView:
    """Return the registry's answer. Raises Unreachable when there is none that can be read."""
    url, query = registry_url(arguments, environment), {}
    if name:
        query["service"] = service_name(name, environment)
    within_s = arguments.within or (SAFE_WITHIN_S if arguments.safe_to_delete else None)
    if within_s is not None:
        query["within"] = f"{within_s:g}"
    answer = ask(
        "GET",
        url,
        f"/usage?{urlencode(query)}" if query else "/usage",
        signer=signer_in(environment),
        timeout_s=ANSWER_S,
        most_bytes=MAX_ANSWER_BYTES,
    )
    if answer.status != 200:
        raise Unreachable(answer.message)
    view = decoded(answer.body, UsageView)
    if view is None:
        raise Unreachable(f"{url} answers, but is not a registry of this release")
    return view


def _told_whether_safe(view: UsageView, *, as_json: bool) -> int:
    (usage,) = view.usage
    against = reasons_against(usage, view.observed)
    is_safe = usage.verdict is UsageVerdict.UNUSED
    if as_json:
        _print_json({"service": usage.service, "safe": is_safe, "because": against, "observed": view.observed})
    elif is_safe:
        within = lasting(view.observed.within_seconds)
        print(f"{usage.service}: nobody asked for it within {within}; what still runs of it can be deleted")
        print("\n".join(observation_lines(view.observed)))
    else:
        print(f"{usage.service}: do not delete it", *(f"  {reason}" for reason in against), sep="\n")
        print("\n".join(observation_lines(view.observed)))
    return OK if is_safe else FAILED


def _print_json(answer: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(answer)).decode())
