"""Remove the agents that `vertice compose inject --write` added to a compose file.

The rest of the file stays as it is, byte for byte, including changes made since then. Names that `vertice compose
rewrite` wrote lead nowhere without agents: each is listed, and `rewrite --undo` turns them back. Without --write the
command only shows the difference.
"""

from __future__ import annotations

import argparse
import json
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
from cli.options import JSON, add_output
from cli.parser import file_path
from cli.streams import write_file
from cli.terminal import printable

EPILOG: Final = f"""examples:
  vertice compose eject compose.yml                  what would change
  vertice compose eject compose.yml --write

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice compose eject`."""
    parser.add_argument("file", metavar="FILE", type=file_path, help="a compose file")
    parser.add_argument("--write", action="store_true", help="write FILE")
    add_output(parser, older=())


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
    written = arguments.write and write(file.file, file.bytes_of(after))
    left = [f"{name}: it is an agent whose marks are gone: remove it by hand" for name in kept]
    for judged in stranded:
        where = f"{judged.address.place}: {judged.service}: {judged.address.variable}"
        left.append(f"{where}: {judged.address.written} leads nowhere without agents")
    notes: list[str] = []
    if stranded:
        # Once the agents are gone, nothing in the file says which zone they answered for.
        other = next((zone for zone in zones if zone != ZONE), None)
        options = f"--undo --zone {printable(other)}" if other is not None else "--undo"
        notes.append(f"turn the names back with `vertice compose rewrite {shown} {options} --write`")
    override = override_path(path)
    if override.exists():
        notes.append(f"{printable(str(override))} has agents as well: delete it")
    difference_shown = "" if arguments.write else difference(file.name, file.text, after)
    if arguments.output == JSON:
        report = {
            "file": file.name,
            "written": file.name if written else None,
            "left": left,
            "notes": notes,
            "diff": difference_shown,
        }
        print(json.dumps(report, indent=2))
    else:
        write_file(difference_shown)
        if after == file.text:
            print(f"{shown}: there are no agents to remove", file=sys.stderr)
        elif written:
            print(f"{shown}: written, without agents")
        else:
            print("Nothing was written; use --write.", file=sys.stderr)
        for kind, lines in (("left", left), ("note", notes)):
            for line in lines:
                print(f"{kind}: {printable(line)}", file=sys.stderr)
    return code_of(complete=not kept and not stranded)


def _zones(file: Text, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the zones of the agents that are removed; the usual one when the file cannot be read with them."""
    try:
        return zones_of(project_with(file.name, file.text, environment))
    except ComposeError:
        return (ZONE,)
