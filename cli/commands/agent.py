"""Run the agent next to a service: it registers and checks the service, and answers lookups on this machine.

Without SERVICE_NAME and without a file it only answers lookups. On SIGTERM and Ctrl-C it deregisters its
services before it ends. On SIGHUP, and when its files change, it applies the new settings while it runs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Final

from agent.settings.settings import read_agent_settings
from agent.settings.table import DNS_LISTEN, HTTP_LISTEN, REMOVED, TABLE
from agent.sidecar import Sidecar
from cli.exit_codes import exit_codes
from cli.parser import file_path
from cli.plurals import counted
from cli.process import add_parent_flag, die_with_parent, run_until_signal
from cli.streams import announce
from cli.table import settings_help
from registry_core.telemetry import logs

LIFE_CODES: Final = exit_codes(done="ended by SIGTERM or Ctrl-C", failed="failed: a port is taken")
EPILOG: Final = f"""settings (environment):
{settings_help(TABLE)}

The file is TOML. [agent] holds the same settings, in lower case and without AGENT_ or VERTICE_
(http_listen, registry_url, heartbeat_interval, ...); the environment takes precedence. Each service is
one [[service]] table with name and port, and optionally host, health_endpoint, protocol, version, weight,
tags, metadata, zone, instance_id, check:

  [[service]]
  name = "osint_service"
  host = "10.0.0.7"
  port = 8034

{LIFE_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice agent`."""
    parser.add_argument("--config", metavar="FILE", type=file_path, help="a TOML file; overrides AGENT_CONFIG")
    parser.add_argument(
        "--http-listen", metavar="HOST:PORT", help="the address and port for HTTP; overrides AGENT_HTTP_LISTEN"
    )
    parser.add_argument(
        "--dns-listen", metavar="HOST:PORT", help="the address and port for DNS; overrides AGENT_DNS_LISTEN"
    )
    for removed in REMOVED:
        if removed.flag:
            parser.add_argument(removed.flag, dest=removed.name, help=argparse.SUPPRESS)
    add_parent_flag(parser)


def environment_of(args: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` overridden by the flags."""
    flags = {HTTP_LISTEN.name: args.http_listen, DNS_LISTEN.name: args.dns_listen}
    flags |= {removed.name: getattr(args, removed.name) for removed in REMOVED if removed.flag}
    return {**environment, **{name: given for name, given in flags.items() if given is not None}}


def run(args: argparse.Namespace) -> int:
    """Run an agent until a signal stops it; return the exit code. Raises SettingsError."""
    environment = environment_of(args, os.environ)
    settings = read_agent_settings(environment, args.config)
    if args.die_with_parent:
        die_with_parent()
    logs.configure(settings.log_level, "agent", settings.log_format)

    async def start() -> Sidecar:
        sidecar = Sidecar(settings, read_again=lambda: read_agent_settings(environment, args.config))
        await sidecar.start()
        count = len(settings.services)
        announce(
            f"vertice agent: HTTP on http://{sidecar.http_listen}, DNS on {sidecar.dns_listen} "
            f"({settings.dns_zone}); {counted(count, 'service')} to register "
            f"at {', '.join(settings.registry_urls)}"
        )
        return sidecar

    return run_until_signal(start, hang_up=Sidecar.reload)
