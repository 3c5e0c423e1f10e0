"""Replace hard-coded addresses in a compose file by discovered names, where that is safe.

`http://ip_intel:8080/x` becomes `http://ip-intel.vertice.internal:8034/x`, with the one port on which ip_intel
listens; pairs of X_HOST and X_PORT change together. A name only leads to an address. So an address stays, with the
reason, when the port is not certain, the service has no agent, or the caller does not resolve names through an agent.

The agents are those in FILE or in its override file; --recipe assumes those of `compose inject`. Without --write or
--output the command only shows the difference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.commands.compose_edit import (
    EXIT_CODES,
    Text,
    code_of,
    difference,
    opened,
    project_with,
    told,
    variables_with,
    write,
)
from cli.commands.compose_inject import add_recipe, options_of, override_path
from cli.compose.errors import ComposeError, Place
from cli.compose.existing_agents import ExistingAgents, agents_with, existing_agents
from cli.compose.file_replacement import held
from cli.compose.model import Project
from cli.compose.reader import MAX_FILE_BYTES
from cli.compose.rewrite import rewritten
from cli.compose.sidecar_plan import planned
from cli.terminal import printable

EPILOG: Final = f"""examples:
  vertice compose rewrite compose.yml --recipe netns       show the result before there are agents
  vertice compose inject compose.yml && vertice compose rewrite compose.yml
  vertice compose rewrite compose.yml > names.patch
  vertice compose rewrite compose.yml --write

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice compose rewrite`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a compose file")
    parser.add_argument(
        "--override", metavar="FILE", type=Path, help="the file with the agents (default: the one that inject writes)"
    )
    add_recipe(parser, default=None)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--write", action="store_true", help="write FILE")
    where.add_argument("--output", metavar="FILE", type=Path, help="write another file, which must not exist")


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice compose rewrite` and return its exit code."""
    return told(_rewrite, arguments)


def _rewrite(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    path: Path = arguments.file
    file = opened(path)
    project = project_with(file.name, file.text, environment)
    outcome = rewritten(file.text, project, _standing(arguments, file, project, environment), arguments.zone)
    if arguments.write:
        write(file.file, file.bytes_of(outcome.text))
    elif arguments.output is not None:
        target = held(arguments.output, MAX_FILE_BYTES)
        if target.data not in (None, file.bytes_of(outcome.text)):
            raise ComposeError("it exists already", code="not-made", place=Place(str(arguments.output)))
        write(target, file.bytes_of(outcome.text))
    else:
        sys.stdout.write(difference(file.name, file.text, outcome.text))
    for change in outcome.changes:
        if change.why:
            print(f"fixed: {change}", file=sys.stderr)
    for unchanged in outcome.unchanged:
        print(f"kept: {unchanged}", file=sys.stderr)
    done = "written" if arguments.write or arguments.output is not None else "nothing was written"
    count = f"{len(outcome.changes)} addresses replaced, {len(outcome.unchanged)} kept"
    print(f"{printable(file.name)}: {count}; {done}", file=sys.stderr)
    return code_of(complete=not outcome.unchanged)


def _standing(
    arguments: argparse.Namespace, file: Text, project: Project, environment: Mapping[str, str]
) -> ExistingAgents:
    """Return the agents that exist, or would with the recipe. Raises ComposeError when there are none."""
    if arguments.recipe is not None:
        options = options_of(arguments)
        return agents_with(planned(project, options).sidecars, options.recipe)
    variables = variables_with(file.name, environment)
    agents = existing_agents(file.text, variables)
    override: Path = arguments.override or override_path(arguments.file)
    if not agents.ports and (arguments.override is not None or override.exists()):
        agents = existing_agents(opened(override).text, variables)
    if not agents.ports:
        raise ComposeError(
            f"there are no agents in it or in {override}: run `vertice compose inject` first, or use --recipe",
            code="no-agents",
            place=Place(file.name),
        )
    return agents
