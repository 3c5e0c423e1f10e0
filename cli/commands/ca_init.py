"""Make the fleet's certificate authority: a root, which stays off the replicas, and an intermediate, which signs there.

The folder belongs on a machine that is no replica, or on a medium that is kept in a safe: it holds the root's key,
encrypted. Two files of it go to the replicas.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from typing import Final

from cli.ca.ca_options import FOLDER_CODES, add_days, add_folder, add_passphrase, carried_out, passphrase_of, shown_path
from cli.exit_codes import OK
from cli.options import JSON, add_output
from cli.parser import CommandParser, WrongUsage
from registry_core.errors import ValidationError
from registry_core.security.authority.lifetimes import INTERMEDIATE_DAYS, ROOT_DAYS
from registry_core.security.spiffe import DEFAULT_TRUST_DOMAIN, check_trust_domain

EPILOG: Final = f"""examples:
  vertice ca init
  vertice ca init --domain fleet.example --zone vertice.internal --dir /media/safe/ca
  vertice ca init --passphrase-file /run/secrets/root-passphrase

{FOLDER_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice ca init`."""
    parser.add_argument(
        "--domain",
        metavar="NAME",
        default=DEFAULT_TRUST_DOMAIN,
        help=f"the trust domain of the SPIFFE ids (default: {DEFAULT_TRUST_DOMAIN})",
    )
    parser.add_argument(
        "--zone",
        metavar="NAME",
        action="append",
        help="a DNS zone of the services; may be repeated (default: AGENT_DNS_ZONE, else the trust domain)",
    )
    add_folder(parser)
    add_passphrase(parser)
    add_days(parser, "--root-days", "the root", ROOT_DAYS)
    add_days(parser, "--days", "the intermediate", INTERMEDIATE_DAYS)
    add_output(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice ca init` and return its exit code. Raises SettingsError, WrongUsage."""
    zone = environment.get("AGENT_DNS_ZONE", "").strip().strip(".").lower()
    try:
        domain = check_trust_domain(arguments.domain)
        zones = tuple(check_trust_domain(one, field="zone") for one in arguments.zone or [zone or domain])
    except ValidationError as error:
        option = "--domain" if error.field == "trust_domain" else "--zone"
        raise WrongUsage(f"{option}: {error.message} (example: {error.example})") from None
    return carried_out(lambda: _made(arguments, domain, zones))


def _made(arguments: argparse.Namespace, trust_domain: str, zones: tuple[str, ...]) -> int:
    from cli.ca.authority_folder import AuthorityFolder  # noqa: PLC0415 - only this loads cryptography
    from cli.ca.authority_work import make_authority  # noqa: PLC0415 - it loads cryptography
    from registry_core.security.authority.certificates import Domain  # noqa: PLC0415 - it loads cryptography

    folder = AuthorityFolder(arguments.dir)
    folder.create()  # before a passphrase is asked for
    passphrase = passphrase_of(arguments, new=True)
    make_authority(
        folder,
        Domain(trust_domain, zones),
        passphrase,
        time.time(),
        root_days=arguments.root_days,
        days=arguments.days,
    )
    cert, key = map(shown_path, folder.replicas)
    if arguments.output == JSON:
        files = {"cert": cert, "key": key, "trust": shown_path(folder.trust), "root": shown_path(folder.path / "roots")}
        print(json.dumps({"trust_domain": trust_domain, "zones": zones, **files}))
        return OK
    print(f"made an authority for spiffe://{trust_domain} and the names in {', '.join(zones)}")
    print("to every replica, readable for it alone:")
    print(f"  {cert}  (REGISTRY_CA_CERT)")
    print(f"  {key}  (REGISTRY_CA_KEY)")
    print("to those who verify certificates and have no agent:")
    print(f"  {shown_path(folder.trust)}")
    print("to no replica; keep it safe, with its passphrase elsewhere:")
    print(f"  {shown_path(folder.path / 'roots')}")
    return OK
