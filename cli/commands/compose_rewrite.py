"""Replace hard-coded addresses in a compose file by discovered names, where that is safe.

`http://ip_intel:8080/x` becomes `http://ip-intel.vertice.internal:8034/x`, with the one port on which ip_intel
listens; pairs of X_HOST and X_PORT change together. A name only leads to an address. So an address stays, with the
reason, when the port is not certain, the service has no agent, or the caller does not resolve names through an agent.

A port that nothing proves wrong stays, and so does a name that is compared and not looked up, such as an origin.

The agents are those in FILE or in its override file; --recipe assumes those of `compose inject`. --undo turns the names
back into those of services. Without --write or --output the command only shows the difference.
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
from cli.commands.compose_zone import with_agents_names, zones_for
from cli.compose.discovered_names import ZONE
from cli.compose.errors import ComposeError, Place
from cli.compose.existing_agents import ExistingAgents, agents_with, existing_agents
from cli.compose.file_replacement import held
from cli.compose.model import Project
from cli.compose.reader import MAX_FILE_BYTES
from cli.compose.rewrite import rewritten
from cli.compose.sidecar_plan import planned
from cli.compose.undo_rewrite import undone
from cli.terminal import printable

HOST_HEADER: Final = (
    "requests over HTTP carry the new name as their Host: a server that checks it (Django's ALLOWED_HOSTS) or chooses "
    "by it (a name-based virtual host) must know that name"
)
EPILOG: Final = f"""examples:
  vertice compose rewrite compose.yml --recipe netns       show the result before there are agents
  vertice compose inject compose.yml && vertice compose rewrite compose.yml
  vertice compose rewrite compose.yml > names.patch
  vertice compose rewrite compose.yml --write
  vertice compose rewrite compose.yml --undo --write

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice compose rewrite`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a compose file")
    parser.add_argument(
        "--override", metavar="FILE", type=Path, help="the file with the agents (default: the one that inject writes)"
    )
    add_recipe(parser, default=None)
    parser.set_defaults(zone=None)
    parser.add_argument("--undo", action="store_true", help="turn discovered names back into those of services")
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
    project = with_agents_names(path, project, environment, arguments.override)
    if arguments.undo:
        outcome = undone(file.text, project, zones_for(path, project, arguments.zone, environment, arguments.override))
    else:
        outcome = rewritten(file.text, project, _standing(arguments, file, project, environment))
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
    if not arguments.undo and any(change.over_http for change in outcome.changes):
        print(f"note: {HOST_HEADER}", file=sys.stderr)
    done = "written" if arguments.write or arguments.output is not None else "nothing was written"
    what = "names turned back" if arguments.undo else "addresses replaced"
    count = f"{len(outcome.changes)} {what}, {len(outcome.unchanged)} kept"
    print(f"{printable(file.name)}: {count}; {done}", file=sys.stderr)
    return code_of(complete=not outcome.unchanged)


def _standing(
    arguments: argparse.Namespace, file: Text, project: Project, environment: Mapping[str, str]
) -> ExistingAgents:
    """Return the agents that exist, or would with the recipe. Raises ComposeError when there are none.

    Names in another zone than that of the agents would lead nowhere.
    """
    zone: str | None = arguments.zone
    if arguments.recipe is not None:
        arguments.zone = ZONE if zone is None else zone
        options = options_of(arguments)
        return agents_with(planned(project, options).sidecars, options.recipe, options.zone)
    variables = variables_with(file.name, environment)
    agents = existing_agents(file.text, variables)
    override: Path = arguments.override or override_path(arguments.file)
    if not agents.ports and (arguments.override is not None or override.exists()):
        agents = existing_agents(opened(override).text, variables)
    if agents.ports and zone not in (None, agents.zone):
        reason = f"--zone: its agents answer for {agents.zone}"
        raise ComposeError(reason, code="usage", place=Place(file.name), example=f"--zone {agents.zone}")
    if not agents.ports:
        raise ComposeError(
            f"there are no agents in it or in {override}: run `vertice compose inject` first, or use --recipe",
            code="no-agents",
            place=Place(file.name),
        )
    return agents
