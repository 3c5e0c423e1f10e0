"""Run one registry replica: it keeps the leases and sends every change to the agents.

With REGISTRY_FOLLOW it is a follower of another registry, and keeps none. It listens on loopback by
default. SIGTERM and Ctrl-C end it cleanly. On SIGHUP it logs at the levels of its settings again.
"""

from __future__ import annotations

import argparse
import os
from typing import Final

from cli.exit_codes import CTRL_C_EARLY, OK, exit_codes
from cli.parser import CommandParser
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
from registry_core.ports.clock import SystemClock
from registry_core.replica import Replica
from registry_core.replica_descriptors import enough_descriptors
from registry_core.replica_log_levels import levels_at_start
from registry_core.replica_settings import (
    LISTEN,
    SETTINGS,
    STORE,
    ReplicaSettings,
    replica_values,
    settings_from,
)
from registry_core.security.replica_tls import read_files
from registry_core.setting_values import Given, Values, from_flags
from registry_core.store.redis.tls import redis_tls
from registry_core.telemetry import logs
from registry_core.telemetry.redaction import secrets_in

LIFE_CODES: Final = exit_codes(
    done="ended by SIGTERM or Ctrl-C", failed="failed: a port is taken", interrupted=CTRL_C_EARLY
)
EPILOG: Final = f"""settings (environment):
{settings_help(SETTINGS)}

{LIFE_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice registry`."""
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="the address and port to listen on; overrides REGISTRY_LISTEN"
    )
    add_settings_flags(parser)
    add_parent_flag(parser)


def flags_of(args: argparse.Namespace) -> Given:
    """Return the settings that the flags give."""
    return from_flags({LISTEN.name: ("--listen", args.listen)})


def run(args: argparse.Namespace) -> int:
    """Run a replica until a signal stops it; return the exit code. Raises SettingsError."""
    values = replica_values(os.environ, flags_of(args))
    settings = settings_from(values)
    if only_lists(args):
        return _listed(args, values, settings)
    if args.die_with_parent:
        die_with_parent()
    logs.configure(levels_at_start(settings.log_level, settings.log_level_file), "registry", settings.log_format)
    logs.hide(secrets_in(settings))
    raise_descriptor_limit(enough_descriptors(settings.redis))

    async def start() -> Replica:
        replica = Replica(settings)
        await replica.start()
        announce(f"vertice registry: listening on {replica.url}")
        return replica

    return run_until_signal(start, hang_up=Replica.reload)


def _listed(args: argparse.Namespace, values: Values, settings: ReplicaSettings) -> int:
    print_warnings("registry", settings.unknown)
    if settings.redis is not None and settings.redis.access.tls:
        for access in (settings.redis.access, settings.redis.sentinel_access):
            redis_tls(access)
    read_files(settings.tls, SystemClock())
    levels_at_start(settings.log_level, settings.log_level_file)
    if args.show_settings:
        print_settings(args.output, setting_rows(SETTINGS, values))
    else:
        print_check("registry", f"it listens on {settings.listen}, and {_source(settings, values)}")
    return OK


def _source(settings: ReplicaSettings, values: Values) -> str:
    """Return where it has its data from, in words."""
    if settings.follow.urls:
        return f"follows {' or '.join(settings.follow.urls)}"
    return f"keeps registrations in {'this process' if settings.redis is None else values.shown(STORE)}"
