"""Show the audit log: who wrote what, when and with which result, and who was refused.

It reads the folder of a log, or asks a running registry, which needs its secret.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cli.client import Unreachable
from cli.commands.audit_source import AuditSource, NoAuditLog, add_source, source_of
from cli.exit_codes import FAILED, OK, exit_codes
from cli.options import JSON, add_output
from cli.parser import plain_text, service, value
from cli.terminal import printable
from registry_core.domain.names import label_of
from registry_core.security.audit.folder import NumberedLine
from registry_core.settings import positive_seconds

POLL_S: Final = 1.0
MAX_LINES: Final = 10**9
_DAYS: Final = re.compile(r"(\d{1,5})\s*d", re.ASCII)

EPILOG: Final = f"""examples:
  vertice audit show --since 2h
  vertice audit show --service billing --result Forbidden
  vertice audit show /var/lib/vertice/audit -o json | jq -r .who | sort | uniq -c
  vertice audit show --follow

{exit_codes()}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice audit show`."""
    add_source(parser)
    parser.add_argument("--service", metavar="NAME", type=service, help="only this service")
    parser.add_argument("--who", metavar="NAME", type=plain_text, help="only this identity: operator, service:billing")
    parser.add_argument("--result", metavar="WORD", type=plain_text, help="only this result: done, Forbidden, refused")
    parser.add_argument(
        "--since",
        metavar="TIME",
        type=value(since, "2h, 3d, 2026-01-31T12:00:00Z"),
        help="only from this time on: ISO 8601 in UTC, or how long ago",
    )
    parser.add_argument(
        "-n", "--lines", metavar="COUNT", type=value(_count, "100"), help="only the last so many lines of the log"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="wait for further lines, until Ctrl-C")
    add_output(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice audit show` and return its exit code."""
    source = source_of(arguments, environment)
    try:
        start = max(0, source.head().head.size - arguments.lines) if arguments.lines is not None else 0
        for numbered in _lines(source, start, follow=arguments.follow):
            _show(numbered, arguments)
    except (Unreachable, NoAuditLog) as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    return OK


def since(given: str) -> str:
    """Return a time as the lines have it: how long ago, or ISO 8601. Raises ValueError."""
    days = _DAYS.fullmatch(given.strip())
    if days is not None or re.fullmatch(r"[\d.]+\s*(ms|s|m|h)?", given.strip(), re.ASCII):
        ago_s = float(days[1]) * 86_400 if days is not None else positive_seconds(given)
        return datetime.fromtimestamp(time.time() - ago_s, UTC).isoformat(timespec="milliseconds")[:-6]
    try:
        at = datetime.fromisoformat(given.strip())
    except ValueError:
        raise ValueError("it is neither a time in ISO 8601 nor how long ago") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6]


def _count(given: str) -> int:
    if not re.fullmatch(r"\d{1,9}", given.strip(), re.ASCII):
        raise ValueError("it is no number of lines")
    return int(given)


def _lines(source: AuditSource, start: int, *, follow: bool) -> Iterator[NumberedLine]:
    while True:
        for numbered in source.lines(start):
            yield numbered
            start = numbered.number + 1
        if not follow:
            return
        time.sleep(POLL_S)


def _show(numbered: NumberedLine, arguments: argparse.Namespace) -> None:
    try:
        line = json.loads(numbered.line)
        is_wanted = _is_wanted(line, arguments)
    except (ValueError, RecursionError, TypeError, AttributeError):
        print(f"vertice: line {numbered.number} is no line of an audit", file=sys.stderr)
        return
    if is_wanted:
        shown = json.dumps({"number": numbered.number, **line}) if arguments.output == JSON else _text(numbered, line)
        print(shown, flush=arguments.follow)


def _is_wanted(line: dict[str, Any], arguments: argparse.Namespace) -> bool:
    result, service_name = str(line.get("result", "")), str(line.get("service", ""))
    if arguments.service is not None and label_of(service_name) != label_of(arguments.service):
        return False
    if arguments.who is not None and line.get("who", "") != arguments.who:
        return False
    if arguments.result is not None and result.lower() != arguments.result.lower():
        is_refusal = arguments.result.lower() == "refused" and int(line.get("status", 0)) >= 400
        if not is_refusal:
            return False
    return arguments.since is None or str(line.get("time", "")) >= arguments.since


def _text(numbered: NumberedLine, line: dict[str, Any]) -> str:
    subject = "/".join(filter(None, (str(line.get("service", "")), str(line.get("instance", "")))))
    times = f"{line['times']} times since {line.get('since', '?')}" if line.get("times") else ""
    by = " ".join(filter(None, (str(line.get("who", "")), str(line.get("client", "")))))
    parts = (
        str(line.get("time", "")),
        f"#{numbered.number}",
        str(line.get("operation", "")),
        str(line.get("result", "")),
        subject,
        f"by {by}" if by else "",
        times,
        str(line.get("reason", "")),
    )
    return printable("  ".join(filter(None, parts)), most=2_000)
