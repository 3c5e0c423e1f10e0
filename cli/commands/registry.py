"""Run one registry replica: it keeps the leases and sends every change to the agents.

It listens on loopback by default. SIGTERM and Ctrl-C end it cleanly.
"""

from __future__ import annotations

import argparse
import os

from cli.main import EXIT_CODES
from cli.process import add_parent_flag, die_with_parent, run_until_signal
from cli.table import settings_help
from registry_core.descriptors import raise_descriptor_limit
from registry_core.errors import SettingsError
from registry_core.replica import Replica
from registry_core.replica_descriptors import enough_descriptors
from registry_core.replica_settings import SETTINGS, replica_settings
from registry_core.settings import Listen, listen, shown
from registry_core.telemetry import logs

EPILOG = f"""settings (environment):
{settings_help(SETTINGS)}

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice registry`."""
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="the address and port to listen on; overrides REGISTRY_LISTEN"
    )
    add_parent_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Run a replica until a signal stops it; return the exit code. Raises SettingsError."""
    settings = replica_settings(os.environ, listen_on=_listen_on(args.listen))
    if args.die_with_parent:
        die_with_parent()
    logs.configure(settings.log_level, "registry")
    raise_descriptor_limit(enough_descriptors(settings.redis))

    async def start() -> Replica:
        replica = Replica(settings)
        await replica.start()
        print(f"vertice registry: listening on http://{replica.listen}", flush=True)
        return replica

    return run_until_signal(start)


def _listen_on(given: str | None) -> Listen | None:
    if given is None:
        return None
    try:
        return listen(given)
    except ValueError as error:
        raise SettingsError(f"--listen: {shown(given)} cannot be used: {error} (example: 127.0.0.1:8888)") from None
