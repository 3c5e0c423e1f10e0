"""Show what a deployment does as it happens: requests a second of each replica, what is asked for, and changes.

Lookups, writes, refusals and failures are those of the replicas. What programs ask their agents for is counted there,
and is shown as the agents reported it, some 30 s late. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from cli.client import Unreachable, ask, registry_url, said_by, signer_in
from cli.commands.changes import Changes
from cli.commands.watch import WatchRefused, lines
from cli.exit_codes import EXIT_CODES, FAILED, OK
from cli.options import JSON, add_output, add_registry
from cli.parser import CommandParser, value
from cli.plurals import counted
from cli.status.rates import DeploymentLook, rate_lines, replica_rates, shown_rate
from cli.status.redraw import Screen, interval
from cli.status.sources import deployment_at
from cli.table import aligned
from cli.terminal import printable
from registry_core.security.sending import RequestSigner
from registry_core.settings import integer

AskedFor: TypeAlias = Sequence[Mapping[str, Any]]
EVERY_S: Final = 2.0
MOST_SERVICES: Final = 10
MOST_CHANGES: Final = 10
EPILOG: Final = f"""examples:
  vertice top
  vertice top --interval 5
  vertice top --count 2 -o json | tail -1 | jq '.replicas[] | {{replica, lookups: .rates.lookups}}'

The first page has no rates yet. -o json prints one object a line: "at", "replicas" with their "rates" (requests a
second: lookups, writes, refused with 4xx, failed with 5xx), "silent", "services" (as `vertice usage` has them) and
"changes" since the last line.

{EXIT_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice top`."""
    parser.add_argument(
        "--interval", type=interval, default=EVERY_S, metavar="SECONDS", help=f"how often (default: {EVERY_S:g})"
    )
    parser.add_argument(
        "--count",
        type=value(integer(1, 1_000_000), "2"),
        metavar="NUMBER",
        help="end after so many pages (default: never)",
    )
    add_output(parser, older=())
    add_registry(parser)


class RecentChanges:
    """The latest changes of the catalogue, read from a watch that goes on where the last look ended."""

    def __init__(self, url: str, signer: RequestSigner) -> None:
        self._url, self._signer = url, signer
        self._changes = Changes()
        self._recent: deque[str] = deque(maxlen=MOST_CHANGES)

    def look(self) -> list[str]:
        """Return the changes since the last look. Raises Unreachable."""
        new: list[str] = []
        try:
            with said_by("a registry", self._url):
                for line in lines(self._url, self._changes.cursor, "", self._signer, once=True):
                    new += [text for text in self._changes.take(line) if text[:1] in ("+", "-", "~")]
        except WatchRefused as error:
            raise Unreachable(f"{self._url}: {error}") from None
        now = time.strftime("%H:%M:%S")
        self._recent += (f"{now} {printable(text)}" for text in new)
        return new

    def recent(self) -> list[str]:
        """Return the latest changes, the last one first."""
        return list(reversed(self._recent))


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice top` and return its exit code. Raises SettingsError."""
    url, signer = registry_url(arguments, environment), signer_in(environment)
    screen, changes = Screen(), RecentChanges(url, signer)
    before: DeploymentLook | None = None
    for number in itertools.count(1):
        try:
            now = DeploymentLook(time.monotonic(), deployment_at(url, signer))
            usage, new = _usage(url, signer), changes.look()
            with said_by("a registry", url):
                as_json = arguments.output == JSON
                page = _object(before, now, usage, new) if as_json else _text(before, now, usage, changes.recent())
        except Unreachable as error:
            print(f"vertice: {error}", file=sys.stderr, flush=True)
            if before is None:
                return FAILED
        else:
            before = now
            if as_json:
                print(page, flush=True)
            else:
                screen.show(page)
        if number == arguments.count:
            break
        time.sleep(arguments.interval)
    return OK


def _usage(url: str, signer: RequestSigner) -> AskedFor | None:
    """Return what programs ask their agents for, the busiest first; None when the registry does not say."""
    answer = ask("GET", url, "/usage", signer=signer)
    if answer.status != HTTPStatus.OK:
        return None
    with said_by("a registry", url):
        found: AskedFor = answer.json()["usage"]
        return sorted(found, key=lambda one: (-float(one["rate_per_second"]), one["service"]))[:MOST_SERVICES]


def _object(
    before: DeploymentLook | None,
    now: DeploymentLook,
    usage: Sequence[Mapping[str, Any]] | None,
    changes: Sequence[str],
) -> str:
    said = {
        "at": now.said["timestamp"],
        "replicas": [one._asdict() for one in replica_rates(before, now)],
        "silent": now.said["silent"],
        "services": usage,
        "changes": changes,
    }
    return json.dumps(said)


def _text(
    before: DeploymentLook | None,
    now: DeploymentLook,
    usage: Sequence[Mapping[str, Any]] | None,
    changes: Sequence[str],
) -> str:
    services = now.said["services"]
    counts = f"{counted(services['services'], 'service')}, {counted(services['instances'], 'instance')}"
    shown = [
        f"{now.said['timestamp'][:19].replace('T', ' ')}  {now.said['status']}  {counts}",
        "",
        *rate_lines(replica_rates(before, now), now.said["silent"]),
        "",
    ]
    if usage is None:
        shown.append("what programs ask for: this registry does not say")
    elif asked := [one for one in usage if one["rate_per_second"]]:
        rows = [("ASKED FOR", "PER SECOND", "CONSUMERS")]
        rows += [
            (printable(str(one["service"])), shown_rate(float(one["rate_per_second"])), str(len(one["consumers"])))
            for one in asked
        ]
        shown += aligned(rows, right=(1, 2))
    else:
        shown.append("no program is known to have asked for a service")
    return "\n".join([*shown, "", "CHANGES", *(changes or ["none yet"])])
