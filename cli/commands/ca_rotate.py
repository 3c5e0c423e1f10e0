"""Replace the root in three steps, without a moment at which a certificate is not trusted.

`announce` makes a new root, which verifiers get beside the old one; `sign` has replicas sign under the new one, with a
cross-certificate for verifiers that lack it; `retire` ends the trust in the old one. Between the steps, copy the files
to the replicas and give agents time to fetch them.
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
from cli.parser import CommandParser, value
from registry_core.security.authority.lifetimes import INTERMEDIATE_DAYS, MAX_LIFETIME_S, ROOT_DAYS
from registry_core.security.authority.rotation import RotationStep
from registry_core.settings import positive_seconds

EPILOG: Final = f"""examples:
  vertice ca rotate announce --dir /media/safe/ca
  vertice ca rotate sign --dir /media/safe/ca
  vertice ca rotate retire --dir /media/safe/ca --lifetime 168h

{FOLDER_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice ca rotate`."""
    parser.add_argument("step", metavar="STEP", choices=list(RotationStep), help="announce, sign or retire")
    add_folder(parser)
    add_passphrase(parser)
    parser.add_argument(
        "--lifetime",
        metavar="DURATION",
        type=value(positive_seconds, "168h"),
        default=MAX_LIFETIME_S,
        help="retire: the longest REGISTRY_CERT_LIFETIME that a replica has had (default: 2160h)",
    )
    add_days(parser, "--root-days", "a new root", ROOT_DAYS)
    add_days(parser, "--days", "a new intermediate", INTERMEDIATE_DAYS)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice ca rotate` and return its exit code. Raises SettingsError, WrongUsage."""
    return carried_out(lambda: _rotated(arguments))


def _rotated(arguments: argparse.Namespace) -> int:
    from cli.ca.authority_folder import AuthorityFolder  # noqa: PLC0415 - only this loads cryptography
    from cli.ca.authority_work import next_step, rotate  # noqa: PLC0415 - it loads cryptography
    from registry_core.security.authority.rotation import after  # noqa: PLC0415 - it loads cryptography

    folder, step, now = AuthorityFolder(arguments.dir), RotationStep(arguments.step), time.time()
    after(folder.state(), step, now, longest_s=arguments.lifetime)  # before a passphrase is asked for
    passphrase = b"" if step is RotationStep.RETIRE else passphrase_of(arguments)
    state, _ = rotate(
        folder,
        step,
        passphrase,
        now,
        longest_s=arguments.lifetime,
        root_days=arguments.root_days,
        days=arguments.days,
    )
    files = {**folder.replicas._asdict(), "trust": folder.trust}
    done = f"the authority is {state.stage}"
    return print_files(arguments, done, files, next_step(state.stage), stage=state.stage.value)
