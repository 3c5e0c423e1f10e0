"""The shared parts of `vertice guard`: one request to the registry, and its answer as text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from cli.client import Unreachable, ask, registry_url, said_by, signer_in
from cli.exit_codes import FAILED, NOT_FOUND, OK
from cli.options import JSON


def tell(
    method: str,
    path: str,
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
) -> int:
    """Print the registry's answer to a request about its guards, and return the exit code."""
    url, signer = registry_url(arguments, environment), signer_in(environment)
    try:
        with said_by("a registry", url):
            answer = ask(method, url, path, signer=signer)
            said = answer.json() if answer.status == 200 else None
            if said is None:
                print(f"vertice: {answer.message}", file=sys.stderr)
                return NOT_FOUND if answer.is_not_found else FAILED
            text = answer.text() if arguments.output == JSON else "\n".join(_lines(said))
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
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
