"""Run the agent next to a service: it registers and checks the service, and answers lookups on this machine.

Without SERVICE_NAME and without a file it only answers lookups. On SIGTERM and Ctrl-C it deregisters its
services before it ends. On SIGHUP, and when its files change, it applies the new settings while it runs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Final

from agent.descriptors import ENOUGH
from agent.settings.settings import AgentSettings, ServiceSpec, read_agent_settings, settings_from
from agent.settings.sources import AgentSources, read_agent_sources
from agent.settings.table import CONFIG, DNS_LISTEN, HTTP_LISTEN, REMOVED, TABLE
from agent.sidecar import Sidecar
from cli.exit_codes import CTRL_C_EARLY, OK, exit_codes
from cli.parser import CommandParser, file_path
from cli.plurals import counted
from cli.process import add_parent_flag, die_with_parent, run_until_signal
from cli.setting_listing import (
    add_settings_flags,
    only_lists,
    print_check,
    print_settings,
    print_warnings,
    setting_rows,
)
from cli.streams import announce
from cli.table import settings_help
from registry_core.descriptors import raise_descriptor_limit
from registry_core.setting_values import Given, from_flags
from registry_core.telemetry import logs
from registry_core.telemetry.redaction import secrets_in

LIFE_CODES: Final = exit_codes(
    done="ended by SIGTERM or Ctrl-C", failed="failed: a port is taken", interrupted=CTRL_C_EARLY
)
EPILOG: Final = f"""settings (environment):
{settings_help(TABLE)}

The file is TOML. [agent] holds the same settings, in lower case and without AGENT_
(http_listen, registry_url, heartbeat_interval, ...); the environment takes precedence. Each service is
one [[service]] table with name and port, and optionally host, health_endpoint, protocol, version, weight,
tags, metadata, zone, instance_id, check:

  [[service]]
  name = "osint_service"
  host = "10.0.0.7"
  port = 8034

{LIFE_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice agent`."""
    parser.add_argument("--config", metavar="FILE", type=file_path, help="a TOML file; overrides AGENT_CONFIG")
    parser.add_argument(
        "--http-listen", metavar="HOST:PORT", help="the address and port for HTTP; overrides AGENT_HTTP_LISTEN"
    )
    parser.add_argument(
        "--dns-listen", metavar="HOST:PORT", help="the address and port for DNS; overrides AGENT_DNS_LISTEN"
    )
    add_settings_flags(parser)
    for removed in REMOVED:
        if removed.flag:
            parser.add_argument(removed.flag, dest=removed.name, help=argparse.SUPPRESS)
    add_parent_flag(parser)


def flags_of(args: argparse.Namespace) -> Given:
    """Return the settings that the flags give."""
    flags = {HTTP_LISTEN.name: ("--http-listen", args.http_listen), DNS_LISTEN.name: ("--dns-listen", args.dns_listen)}
    flags[CONFIG.name] = ("--config", str(args.config) if args.config is not None else None)
    flags |= {removed.name: (removed.flag, getattr(args, removed.name)) for removed in REMOVED if removed.flag}
    return from_flags(flags)


def run(args: argparse.Namespace) -> int:
    """Run an agent until a signal stops it; return the exit code. Raises SettingsError."""
    flags = flags_of(args)
    sources = read_agent_sources(os.environ, flags=flags)
    settings = settings_from(sources)
    if only_lists(args):
        return _listed(args, sources, settings)
    if args.die_with_parent:
        die_with_parent()
    logs.configure(settings.log_level, "agent", settings.log_format)
    logs.hide(secrets_in(settings))
    raise_descriptor_limit(ENOUGH)

    async def start() -> Sidecar:
        sidecar = Sidecar(settings, read_again=lambda: read_agent_settings(os.environ, flags=flags))
        await sidecar.start()
        count = len(settings.services)
        announce(
            f"vertice agent: HTTP on http://{sidecar.http_listen}, DNS on {sidecar.dns_listen} "
            f"({settings.dns_zone}); {counted(count, 'service')} to register "
            f"at {', '.join(settings.registry_urls)}"
        )
        return sidecar

    return run_until_signal(start, hang_up=Sidecar.reload)


def _listed(args: argparse.Namespace, sources: AgentSources, settings: AgentSettings) -> int:
    print_warnings("agent", settings.unknown, [one.name for one in settings.ignored])
    count = len(settings.services)
    if not args.show_settings:
        files = f", from the environment and {', '.join(settings.files)}" if settings.files else ""
        print_check("agent", f"{count} {'service' if count == 1 else 'services'} to register{files}")
        return OK
    print_settings(args.output, setting_rows(TABLE, sources.values), service_rows(settings.services, sources))
    return OK


def service_rows(services: Sequence[ServiceSpec], sources: AgentSources) -> list[tuple[str, str, str, str]]:
    """Return name, address, checks and source of each service; those of the file come first."""
    in_file = [f"{sources.path}: [[service]] {number}" for number, _ in enumerate(sources.services, 1)]
    return [
        (
            spec.claim.service_name,
            spec.claim.socket,
            ", ".join(check.kind.value for check in spec.checks) or "none",
            source,
        )
        for spec, source in zip(services, (*in_file, "environment"), strict=False)
    ]
