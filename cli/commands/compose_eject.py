"""Remove the agents that `vertice compose inject --write` added to a compose file.

The rest of the file stays as it is, byte for byte, including changes made since then. Names that `vertice compose
rewrite` wrote lead nowhere without agents: each is listed, and `rewrite --undo` turns them back. Without --write the
command only shows the difference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.commands.compose_edit import EXIT_CODES, Text, code_of, difference, opened, project_with, told, write
from cli.commands.compose_inject import override_path
from cli.compose.discovered_names import ZONE, zones_of
from cli.compose.errors import ComposeError
from cli.compose.inject import MADE, ejected
from cli.compose.sidecars import LABEL, without_agents
from cli.compose.verdicts import Judge
from cli.terminal import printable

EPILOG: Final = f"""examples:
  vertice compose eject compose.yml                  what would change
  vertice compose eject compose.yml --write

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice compose eject`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a compose file")
    parser.add_argument("--write", action="store_true", help="write FILE")


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice compose eject` and return its exit code."""
    return told(_eject, arguments)


def _eject(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    path: Path = arguments.file
    file = opened(path)
    shown = printable(file.name)
    if file.text.startswith(MADE):
        raise ComposeError("`vertice compose inject` made all of it: delete it", code="made")
    after = ejected(file.text)
    zones = _zones(file, environment)
    project = project_with(file.name, after, environment)
    kept = [s.name for s in project.services.values() if LABEL in s.labels]
    fleet = without_agents(project)
    judge = Judge(fleet, zones)
    judgements = [one for service in fleet.services.values() for one, _ in judge.judged(service)]
    stranded = [judged for judged in judgements if judged.is_discovered and not judged.identity]
    if after == file.text:
        print(f"{shown}: there are no agents to remove", file=sys.stderr)
    elif not arguments.write:
        sys.stdout.write(difference(file.name, file.text, after))
        print("Nothing was written; use --write.", file=sys.stderr)
    else:
        write(file.file, file.bytes_of(after))
        print(f"{shown}: written, without agents")
    for name in kept:
        print(f"left: {printable(name)}: it is an agent whose marks are gone: remove it by hand", file=sys.stderr)
    for judged in stranded:
        where = printable(f"{judged.address.place}: {judged.service}: {judged.address.variable}")
        print(f"left: {where}: {printable(judged.address.written)} leads nowhere without agents", file=sys.stderr)
    if stranded:
        # Once the agents are gone, nothing in the file says which zone they answered for.
        other = next((zone for zone in zones if zone != ZONE), None)
        options = f"--undo --zone {printable(other)}" if other is not None else "--undo"
        print(f"Turn them back with `vertice compose rewrite {shown} {options} --write`.", file=sys.stderr)
    override = override_path(path)
    if override.exists():
        print(f"note: {printable(str(override))} has agents as well: delete it", file=sys.stderr)
    return code_of(complete=not kept and not stranded)


def _zones(file: Text, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the zones of the agents that are removed; the usual one when the file cannot be read with them."""
    try:
        return zones_of(project_with(file.name, file.text, environment))
    except ComposeError:
        return (ZONE,)
