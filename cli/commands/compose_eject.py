"""Take the agents out of a compose file that `vertice compose inject --write` put into it.

What it was before is there again, byte by byte, and what somebody changed since then beside them stays. Without --write
the difference is shown, and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.commands.compose_edit import EXIT_CODES, code_of, difference, opened, project_with, told, write
from cli.commands.compose_inject import override_path
from cli.compose.errors import ComposeError
from cli.compose.injecting import MADE, ejected
from cli.compose.sidecars import LABEL
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
        raise ComposeError("all of it was made by `vertice compose inject`: delete it", code="made")
    after = ejected(file.text)
    kept = [s.name for s in project_with(file.name, after, environment).services.values() if LABEL in s.labels]
    if after == file.text:
        print(f"{shown}: there are no agents in it that could be taken out", file=sys.stderr)
    elif not arguments.write:
        sys.stdout.write(difference(file.name, file.text, after))
        print("Nothing was written (--write does).", file=sys.stderr)
    else:
        write(file.file, file.bytes_of(after))
        print(f"{shown}: written, without agents")
    for name in kept:
        print(f"left: {printable(name)}: it is an agent, and its marks are gone: take it out by hand", file=sys.stderr)
    override = override_path(path)
    if override.exists():
        print(f"note: {printable(str(override))} holds agents as well: delete it", file=sys.stderr)
    return code_of(complete=not kept)
