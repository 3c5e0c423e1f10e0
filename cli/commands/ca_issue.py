"""Issue a certificate for the registry itself: for the port of a replica, a load balancer, or a person who operates it.

The root signs it, on the machine that has the root: the intermediate on the replicas can sign for services alone.
Services get theirs from a replica, through their agents.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent.files import replace_file
from cli.ca.ca_options import FOLDER_CODES, add_folder, add_passphrase, carried_out, passphrase_of, shown_path
from cli.exit_codes import OK
from cli.options import JSON, add_output
from cli.parser import CommandParser, WrongUsage, file_path, value
from registry_core.security.authority.lifetimes import DAY_S, MAX_LIFETIME_S
from registry_core.security.identities import Role
from registry_core.settings import integer

MAX_DAYS: Final = int(MAX_LIFETIME_S // DAY_S)
MAX_HOSTS: Final = 64
ROLES: Final = (Role.OPERATOR, Role.REPLICA, Role.READER, Role.FOLLOWER)
EPILOG: Final = f"""examples:
  vertice ca issue registry.example 10.0.0.5 --out registry
  vertice ca issue registry-1 10.0.0.51 --role replica --out registry-1
  vertice ca issue --role operator --days 7 --out ana

{FOLDER_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice ca issue`."""
    parser.add_argument("host", nargs="*", metavar="HOST", help="a name or IP address at which the server is reached")
    parser.add_argument(
        "--role", choices=[role.value for role in ROLES], help="what its holder is to a registry, as a client"
    )
    parser.add_argument(
        "--out", metavar="PREFIX", type=file_path, required=True, help="writes PREFIX.crt and PREFIX.key"
    )
    parser.add_argument(
        "--days",
        metavar="DAYS",
        type=value(integer(1, MAX_DAYS), str(MAX_DAYS)),
        default=MAX_DAYS,
        help=f"how long it is valid (default, and at most: {MAX_DAYS})",
    )
    add_folder(parser)
    add_passphrase(parser)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice ca issue` and return its exit code. Raises SettingsError, WrongUsage."""
    if not arguments.host and arguments.role is None:
        raise WrongUsage("give a host, a role, or both (example: vertice ca issue registry --out registry)")
    if len(arguments.host) > MAX_HOSTS:
        raise WrongUsage(f"a certificate has at most {MAX_HOSTS} hosts, and {len(arguments.host)} were given")
    return carried_out(lambda: _issued(arguments))


def _issued(arguments: argparse.Namespace) -> int:
    from cli.ca.authority_folder import AuthorityFolder  # noqa: PLC0415 - only this loads cryptography
    from cli.ca.authority_work import issue  # noqa: PLC0415 - it loads cryptography

    folder = AuthorityFolder(arguments.dir)
    folder.state()  # before a passphrase is asked for
    role = None if arguments.role is None else Role(arguments.role)
    issued = issue(folder, arguments.host, role, passphrase_of(arguments), time.time(), days=arguments.days)
    prefix: Path = arguments.out
    cert, key = prefix.with_name(f"{prefix.name}.crt"), prefix.with_name(f"{prefix.name}.key")
    # The key first: a reader that sees the new certificate finds its key.
    replace_file(key, [issued.key], prepare=lambda descriptor: os.fchmod(descriptor, 0o600))
    replace_file(cert, [issued.certificate], prepare=lambda descriptor: os.fchmod(descriptor, 0o644))
    if arguments.output == JSON:
        ends = datetime.fromtimestamp(issued.ends, UTC).isoformat()
        print(json.dumps({"cert": shown_path(cert), "key": shown_path(key), "not_after": ends}))
        return OK
    print(f"valid until {datetime.fromtimestamp(issued.ends, UTC):%Y-%m-%d}:")
    for path in (cert, key):
        print(f"  {shown_path(path)}")
    return OK
