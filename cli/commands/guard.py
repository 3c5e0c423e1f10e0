"""Show or release the guard against mass expiry.

When too many instances fall silent at once, the registry keeps them in the answers as suspect, for five
minutes at most. `release` confirms that they are really gone: they then leave a few at a time.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from cli.client import Unreachable, add_registry_flag, ask, credentials, registry_url
from cli.main import EXIT_CODES, FAILED, NOT_FOUND, OK
from registry_core.shared_secret import SECRET

EPILOG: Final = f"""examples:
  vertice guard status
  vertice guard release
  vertice guard release --shard a --registry http://10.0.0.2:8888

`release` sends the secret in {SECRET.name}.

{EXIT_CODES.replace("no such service", "no such shard")}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice guard`."""
    parser.add_argument("action", choices=("status", "release"), help="show the state, or release the guard")
    parser.add_argument("--shard", metavar="NAME", help="release: only this shard")
    parser.add_argument("--json", action="store_true", help="print the registry's answer")
    add_registry_flag(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice guard` and return its exit code."""
    url = registry_url(arguments, environment)
    try:
        if arguments.action == "status":
            answer = ask("GET", url, "/guard")
        else:
            query = "" if arguments.shard is None else f"?shard={quote(arguments.shard, safe='')}"
            answer = ask("POST", url, f"/guard/release{query}", credentials(environment))
        said = answer.json() if answer.status == 200 else None
        if said is None:
            print(f"vertice: {answer.message}", file=sys.stderr)
            return NOT_FOUND if answer.status == 404 and arguments.shard is not None else FAILED
        text = answer.text() if arguments.json else "\n".join(_lines(said))
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    except (KeyError, TypeError):
        print(f"vertice: {url} answers, but is not a registry", file=sys.stderr)
        return FAILED
    print(text)
    return OK


def _lines(said: Any) -> list[str]:
    """Return the output: what was released, if requested, and a line for each shard."""
    lines: list[str] = []
    if "released" in said:
        lines.append(f"released: {', '.join(said['released']) or 'nothing; no guard was holding'}")
        said = said["guard"]
    for shard in said["shards"]:
        left = shard["releases_in_seconds"]
        wait = "" if left is None else f"; releases by itself in {left:.0f} s"
        lines.append(f"{shard['shard']}: {shard['phase']}: {shard['reason']}{wait}")
    return lines
