"""Show a certificate authority: what signs, which roots are trusted, and when each ends.

It asks a registry, or with --dir reads the folder that `vertice ca init` made.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from agent.certificates.plan import shown_duration
from cli.ca.ca_options import FOLDER_CODES, carried_out
from cli.client import Unreachable, ask, registry_url, said_by
from cli.exit_codes import FAILED, OK
from cli.options import JSON, add_output, add_registry
from cli.parser import CommandParser, file_path
from cli.table import aligned
from cli.terminal import printable

EPILOG: Final = f"""examples:
  vertice ca status
  vertice ca status --dir /media/safe/ca
  vertice ca status -o json | jq .intermediate.not_after

{FOLDER_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice ca status`."""
    parser.add_argument(
        "--dir", metavar="FOLDER", type=file_path, help="the folder of an authority, instead of a registry"
    )
    add_output(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice ca status` and return its exit code. Raises SettingsError."""
    if arguments.dir is not None:
        return carried_out(lambda: _of_folder(arguments))
    url = registry_url(arguments, environment)
    try:
        with said_by("a registry", url):
            answer = ask("GET", url, "/certificates")
            said = answer.json() if answer.status == 200 else None
            if said is None:
                print(f"vertice: {answer.message}", file=sys.stderr)
                return FAILED
            text = answer.text() if arguments.output == JSON else "\n".join(_lines(said))
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    print(text)
    return OK


def _of_folder(arguments: argparse.Namespace) -> int:
    from cli.ca.authority_folder import AuthorityFolder  # noqa: PLC0415 - only this loads cryptography
    from cli.ca.authority_work import next_step  # noqa: PLC0415 - it loads cryptography
    from registry_core.security.authority.issuer import described  # noqa: PLC0415 - it loads cryptography

    folder, now = AuthorityFolder(arguments.dir), time.time()
    state, chain = folder.state(), folder.chain()

    def shown(certificate: Any) -> dict[str, Any]:
        one = described(certificate)
        ends = datetime.fromtimestamp(one.not_after, UTC).isoformat(timespec="seconds")
        return {
            "name": one.name,
            "key_id": one.key_id,
            "not_after": ends,
            "expires_in_seconds": round(one.not_after - now),
        }

    said = {
        "trust_domain": state.trust_domain,
        "zones": list(state.zones),
        "stage": state.stage.value,
        "intermediate": shown(chain.intermediate),
        "roots": [shown(root) for root in chain.roots],
    }
    if arguments.output == JSON:
        print(json.dumps(said))
    else:
        print("\n".join([*_lines(said), f"stage: {state.stage}: {next_step(state.stage)}"]))
    return OK


def _lines(said: Any) -> Sequence[str]:
    certificates = [("signs", said["intermediate"]), *(("trusted root", root) for root in said["roots"])]
    rows = [
        (
            what,
            printable(one["name"]),
            f"ends {one['not_after']}",
            f"in {shown_duration(max(0, one['expires_in_seconds']))}",
        )
        for what, one in certificates
    ]
    lines = [f"spiffe://{printable(said['trust_domain'])}, names in {printable(', '.join(said['zones']))}"]
    lines += aligned(rows)
    if "lifetime_seconds" in said:
        lines.append(
            f"certificates of services last {shown_duration(said['lifetime_seconds'])}; {said['denied']} denied"
        )
    if said.get("problem"):
        lines.append(printable(said["problem"], most=500))
    return lines
