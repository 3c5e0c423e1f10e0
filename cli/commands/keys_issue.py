"""Issue a key to a service, or to a role.

The key is printed once, as ID.SECRET. Its holder signs requests with it, and the registry checks them with what the
file of keys says. A holder has at most two valid keys.

With --derived no file is needed: the key of a service follows from its name and the secret of the fleet.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from typing import Final

from cli.commands.keys import add_days, add_file, add_holder, add_to, hand_over, holder_of, new_key, now, opened, told
from cli.exit_codes import OK, exit_codes
from cli.parser import CommandParser, WrongUsage
from registry_core.domain.names import check_service_name
from registry_core.security.access_settings import KEYS_FILE
from registry_core.security.identities import Role
from registry_core.security.issued_keys import issued
from registry_core.security.signing_keys import SigningKey, service_key
from registry_core.setting_sources import read_settings
from registry_core.shared_secret import SECRET, sent

EPILOG: Final = f"""examples:
  vertice keys issue --service billing --file /etc/vertice/keys.json --to billing.key
  vertice keys issue --role reader --days 365
  vertice keys issue --service billing --derived

A registry reads the file again within seconds ({KEYS_FILE.name}).

{exit_codes(failed="failed: a file could not be written")}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice keys issue`."""
    add_holder(parser)
    add_days(parser, "--days", "how many days it is valid (default: without end)", None)
    parser.add_argument(
        "--derived", action="store_true", help=f"the key that follows from {SECRET.name}, which no file lists"
    )
    add_to(parser)
    add_file(parser)


def run(arguments: Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice keys issue` and return its exit code."""
    with told() as failure:
        if arguments.derived:
            derived = _derived(arguments, environment)
            hand_over(arguments, derived, f"{derived.id}, which follows from {SECRET.name}", holder=derived.id)
        else:
            role, service = holder_of(arguments)
            file, key = opened(arguments, environment, may_lack=True), new_key()
            keys = issued(file.keys, key, role, service, now=now(), days=arguments.days)
            file.write(keys)
            holder = keys[-1].holder
            hand_over(arguments, key, f"issued {key.id} to {holder}", holder=holder)
    return OK if failure.code is None else failure.code


def _derived(arguments: Namespace, environment: Mapping[str, str]) -> SigningKey:
    role, service = holder_of(arguments)
    if role is not Role.SERVICE or arguments.days is not None or arguments.file is not None:
        raise WrongUsage("--derived is for --service, without --days and --file")
    secret = sent(read_settings((SECRET,), environment)[SECRET])
    if not secret:
        raise WrongUsage(f"--derived needs the secret of the fleet, in {SECRET.name} or {SECRET.name}_FILE")
    return service_key(check_service_name(service), secret)
