"""Find what is wrong on this machine: resolv.conf, libc, ports, addresses, registry, clock, token.

Each finding states the problem, why it matters, and the cure. The command changes nothing, needs no privileges,
takes less than 10 s, and works with or without a running agent. Run it with the agent's own settings: in its
environment, or with --config.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from typing import Final

from cli.client import agent_url
from cli.doctor.catalogue import findings
from cli.doctor.fact_collector import examine
from cli.doctor.finding import DoctorSeverity
from cli.doctor.machine import ROOT
from cli.doctor.report import report_json, report_text
from cli.exit_codes import FAILED, OK, exit_codes
from cli.options import JSON, add_agent, add_color, add_output
from cli.parser import WrongUsage, file_path
from registry_core.telemetry.colours import coloured

WIDTH: Final = 110
EPILOG: Final = f"""examples:
  vertice doctor
  vertice doctor --verbose
  vertice doctor --config /etc/vertice/agent.toml
  vertice doctor -o json | jq -r '.findings[] | select(.severity == "error") | .cure'
  docker exec billing-agent vertice doctor

docs/reference/doctor.md lists every finding with its cure.

{
    exit_codes(
        done="no errors (there may be warnings and notes)",
        failed="at least one error; with --strict, at least one error or warning",
        usage="wrong usage (a wrong setting is a finding)",
    )
}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice doctor`."""
    parser.add_argument("--config", metavar="FILE", type=file_path, help="a TOML file; overrides AGENT_CONFIG")
    add_output(parser)
    add_color(parser)
    parser.add_argument("--verbose", action="store_true", help="also show what is fine")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    parser.add_argument(
        "--root", metavar="FOLDER", type=file_path, default=ROOT, help="the folder with /etc and /proc (default: /)"
    )
    add_agent(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice doctor` and return its exit code. Raises SettingsError and WrongUsage."""
    if not arguments.root.is_dir():
        raise WrongUsage(f"--root: {arguments.root}: there is no such folder")
    # The agent's address in the settings is read with all the others: a wrong one is a finding.
    agent = agent_url(arguments, {}) if arguments.agent is not None else None
    found = findings(examine(environment, arguments.config, agent, arguments.root))
    if arguments.output == JSON:
        print(report_json(found))
    else:
        colours = coloured(sys.stdout, environment, arguments.color)
        width = shutil.get_terminal_size((WIDTH, 0)).columns
        print(report_text(found, width=min(width, WIDTH), verbose=arguments.verbose, colours=colours))
    bad = (DoctorSeverity.ERROR, DoctorSeverity.WARNING) if arguments.strict else (DoctorSeverity.ERROR,)
    return FAILED if any(finding.severity in bad for finding in found) else OK
