"""Try it out: one registry, one agent, and the services of a compose file, all on loopback.

A small HTTP server plays each service of the file, with its real container port, on its own loopback address. A
service that declares no port has the one in PORT, its own health check, EXPOSE in its Dockerfile, the usual one of its
image, or the one at which the others call it. Services that cannot be used are listed, and the rest is started. Without
FILE a small example fleet is started. Ctrl-C deregisters every service and ends everything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from cli.compose.errors import ComposeError
from cli.dev.guide import Ports, findings_text, shown_command
from cli.dev.lines import ReadLines
from cli.dev.plan import Plan
from cli.dev.plan_builder import read_plan
from cli.dev.supervisor import Supervisor
from cli.exit_codes import CTRL_C_EARLY, FAILED, OK, USAGE, exit_codes
from cli.options import JSON, TEXT, add_output
from cli.parser import WrongUsage, file_path, value
from cli.plurals import counted
from cli.process import run_until_signal
from registry_core.settings import integer

EXAMPLE: Final = Path(__file__).resolve().parents[1] / "dev" / "example.yml"
EPILOG: Final = f"""examples:
  vertice dev                                  the example fleet
  vertice dev compose.yml                      your own fleet
  vertice dev compose.yml --check              only report what is wrong with the file
  vertice dev --registry-port 9888 --http-port 9880 --dns-port 9653

{
    exit_codes(
        done="ended by Ctrl-C; --check: nothing is wrong with the file",
        failed="failed: a port is taken; --check: something in the file cannot be used or looks wrong",
        interrupted=CTRL_C_EARLY,
    )
}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice dev`."""
    default = Ports()
    parser.add_argument("file", nargs="?", type=file_path, default=EXAMPLE, metavar="FILE", help="a compose file")
    parser.add_argument(
        "--check", action="store_true", help="list everything that is wrong with the file; start nothing"
    )
    for name, number in (("registry", default.registry), ("http", default.http), ("dns", default.dns)):
        parser.add_argument(
            f"--{name}-port",
            type=value(integer(1, 65535)),
            metavar="PORT",
            help=f"the port to use (default: {number})",
        )
    add_output(parser, older=(), note="with --check")


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice dev` and return its exit code. Raises WrongUsage."""
    wanted = {name: getattr(arguments, f"{name}_port") for name in ("registry", "http", "dns")}
    given = {name: number for name, number in wanted.items() if number is not None}
    if arguments.check and given:
        raise WrongUsage(f"--{next(iter(given))}-port has no effect with --check, which starts nothing")
    if arguments.output != TEXT and not arguments.check:
        raise WrongUsage("--output has no effect without --check")
    try:
        plan = read_plan(arguments.file, os.environ)
    except ComposeError as error:
        print(f"vertice: {error}", file=sys.stderr)
        return USAGE
    lines = ReadLines()
    if arguments.check:
        _print_findings(arguments, plan, lines)
        return OK if plan.is_clean else FAILED
    lines.say(_summary(arguments.file, plan))
    ports = msgspec.structs.replace(Ports(), **given)
    check_command = f"{shown_command(Path(sys.executable), Path.cwd())} dev {arguments.file} --check"
    return run_until_signal(Supervisor(plan, ports, lines.say, check_command).start, until=lines.unread)


def _summary(file: Path, plan: Plan) -> str:
    return f"{file}: {counted(plan.listed, 'service')}, of which {len(plan.services)} can be used."


def _print_findings(arguments: argparse.Namespace, plan: Plan, lines: ReadLines) -> None:
    if arguments.output == JSON:
        report = {
            "file": str(arguments.file),
            "services": plan.listed,
            "usable": len(plan.services),
            "findings": [
                {"weight": one.weight.value, "subject": one.subject, "reason": one.reason, "line": one.line}
                for one in plan.findings
            ],
        }
        lines.say(json.dumps(report, indent=2))
        return
    for line in (_summary(arguments.file, plan), *findings_text(plan)):
        lines.say(line)
