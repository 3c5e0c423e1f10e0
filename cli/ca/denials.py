"""Requests about the deny list of a registry, and its answers as text."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from typing import Any

from cli import registry_request
from cli.options import add_output, add_registry
from cli.parser import CommandParser, WrongUsage, plain_text, service
from cli.table import aligned
from cli.terminal import printable

PATH = "/certificates/denied"


def add_subject(parser: CommandParser) -> None:
    """Add what is denied or allowed: a service, or a serial number."""
    parser.add_argument("service", metavar="SERVICE", nargs="?", type=service, help="all certificates of this service")
    parser.add_argument(
        "--serial",
        metavar="NUMBER",
        type=plain_text,
        help="one certificate, by its serial number in hexadecimal (`openssl x509 -noout -serial`)",
    )
    add_output(parser)
    add_registry(parser)
    parser.checks.append(_one_subject)


def _one_subject(arguments: argparse.Namespace) -> None:
    if (arguments.service is None) == (arguments.serial is None):
        raise WrongUsage("it takes either SERVICE or --serial NUMBER")


def change(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ, **more: Any) -> int:
    """Send an entry for the deny list, print what is denied then, and return the exit code. Raises SettingsError."""
    subject = {"serial": arguments.serial} if arguments.service is None else {"service_name": arguments.service}
    body = json.dumps({**subject, **more}).encode()
    return tell("POST", arguments, environment, body)


def tell(
    method: str, arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ, body: bytes | None = None
) -> int:
    """Print the registry's answer, and return the exit code. Raises SettingsError."""
    return registry_request.tell(method, PATH, arguments, environment, _lines, body=body)


def _lines(said: Any) -> list[str]:
    rows = [
        (printable(one["subject"]), f"until {one['until']}", printable(one["reason"], most=200))
        for one in said["denied"]
    ]
    lines = aligned(rows) if rows else ["nothing is denied"]
    return [*lines, *(f"not read lately: {printable(part)}" for part in said["unread"])]
