"""Make a new intermediate, signed by the present root, for the replicas to sign with.

The old one stays valid until it ends: certificates that it signed are trusted as before.
"""

from __future__ import annotations

import argparse
import time
from typing import Final

from cli.ca.ca_options import (
    FOLDER_CODES,
    add_days,
    add_folder,
    add_passphrase,
    carried_out,
    passphrase_of,
    print_files,
)
from cli.options import add_output
from cli.parser import CommandParser
from registry_core.security.authority.lifetimes import INTERMEDIATE_DAYS

EPILOG: Final = f"""examples:
  vertice ca intermediate --dir /media/safe/ca

{FOLDER_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice ca intermediate`."""
    add_folder(parser)
    add_passphrase(parser)
    add_days(parser, "--days", "the intermediate", INTERMEDIATE_DAYS)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice ca intermediate` and return its exit code. Raises SettingsError, WrongUsage."""
    return carried_out(lambda: _made(arguments))


def _made(arguments: argparse.Namespace) -> int:
    from cli.ca.authority_folder import AuthorityFolder  # noqa: PLC0415 - only this loads cryptography
    from cli.ca.authority_work import renew_intermediate  # noqa: PLC0415 - it loads cryptography

    folder = AuthorityFolder(arguments.dir)
    folder.state()  # before a passphrase is asked for
    renew_intermediate(folder, passphrase_of(arguments), time.time(), days=arguments.days)
    return print_files(arguments, "made a new intermediate", folder.replicas._asdict())
