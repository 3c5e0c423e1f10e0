"""Print each service level beside what was measured in a window, and whether it was met.

The figures come from a Prometheus that scrapes the deployment, or from a file of `make bench`. A level that was not
measured is `unknown`, never `met`; it does not change the exit code.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from cli.client import Unreachable, base_url
from cli.exit_codes import FAILED, OK, USAGE, exit_codes
from cli.options import JSON, add_output
from cli.parser import CommandParser, WrongUsage, file_path
from cli.slo.bench_file import UnusableBenchFile, bench_measurements
from cli.slo.prometheus import prometheus_measurements
from cli.slo.verdicts import Kept, Measurement, as_json, lines, verdicts
from registry_core.causes import cause_of
from registry_core.errors import SettingsError
from registry_core.settings import positive_seconds, shown

WINDOW: Final = "1h"
MOST_WINDOW_S: Final = 90 * 86_400
MOST_BYTES: Final = 16 * 1024 * 1024
EPILOG: Final = f"""examples:
  vertice slo --prometheus http://127.0.0.1:9090 --window 1h
  vertice slo --prometheus 127.0.0.1:9090 --window 168h -o json | jq -r '.missed[]'
  vertice slo --bench bench/results/2026-01-01T00-00-00Z.json

{
    exit_codes(
        done="no level was missed; those that were not measured are `unknown`",
        failed="a level was missed, or nothing answers at the address",
    )
}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice slo`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prometheus", metavar="ADDRESS", help="the URL or host:port of a Prometheus")
    source.add_argument("--bench", metavar="FILE", type=file_path, help="a file that `make bench` wrote")
    parser.add_argument(
        "--window", metavar="DURATION", help=f"with --prometheus: how far back, such as 30m or 168h (default: {WINDOW})"
    )
    add_output(parser)
    parser.checks.append(_window_has_a_source)


def _window_has_a_source(arguments: argparse.Namespace) -> None:
    if arguments.bench and arguments.window:
        raise WrongUsage("--window cannot be combined with --bench: a run has no window")


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice slo` and return its exit code. Raises SettingsError."""
    if arguments.bench is not None:
        try:
            measured = _of_file(arguments.bench)
        except UnusableBenchFile as error:
            print(f"vertice: {arguments.bench}: {error}", file=sys.stderr)
            return USAGE
        source = {"bench": str(arguments.bench)}
    else:
        url, window_s = _prometheus(arguments.prometheus), _window(arguments.window or WINDOW)
        try:
            measured = prometheus_measurements(url, window_s)
        except Unreachable as error:
            print(f"vertice: {error}", file=sys.stderr)
            return FAILED
        source = {"prometheus": url, "window": arguments.window or WINDOW}
    found = verdicts(measured)
    if arguments.output == JSON:
        print(json.dumps(as_json(found, source), indent=2))
    else:
        print("\n".join(lines(found)))
    return FAILED if any(each.kept is Kept.MISSED for each in found) else OK


def _of_file(path: Path) -> dict[str, Measurement]:
    """Return what a file of the benchmark has. Raises UnusableBenchFile."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UnusableBenchFile(f"it cannot be read: {cause_of(error)}") from None
    if len(text) > MOST_BYTES:
        raise UnusableBenchFile(f"it has more than {MOST_BYTES} bytes")
    return bench_measurements(text)


def _prometheus(given: str) -> str:
    try:
        return base_url(given)
    except ValueError as error:
        example = "(example: http://127.0.0.1:9090)"
        raise SettingsError(f"--prometheus: {shown(given)} cannot be used: {error} {example}") from None


def _window(given: str) -> float:
    try:
        window_s = positive_seconds(given)
        wrong = "it is longer than 90 days" if window_s > MOST_WINDOW_S else ""
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise SettingsError(f"--window: {shown(given)} cannot be used: {wrong} (example: 30m)")
    return window_s
