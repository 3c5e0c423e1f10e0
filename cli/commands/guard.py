"""The shared parts of `vertice guard`: one request to the registry, and its answer as text."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from cli import registry_request


def tell(
    method: str,
    path: str,
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
) -> int:
    """Print the registry's answer to a request about its guards, and return the exit code."""
    return registry_request.tell(method, path, arguments, environment, _lines)


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
