"""Replace hard-coded addresses in a compose file by discovered names, where that is safe.

`http://ip_intel:8080/x` becomes `http://ip-intel.vertice.internal:8034/x`, with the one port on which ip_intel
listens; pairs of X_HOST and X_PORT change together. A name only leads to an address. So an address stays, with the
reason, when the port is not certain, the service has no agent, or the caller does not resolve names through an agent.

A port that nothing proves wrong stays, and so does a name that is compared and not looked up, such as an origin.

The agents are those in FILE or in its override file; --recipe assumes those of `compose inject`. --undo turns the names
back into those of services. Without --write or --to the command only shows the difference.
"""

from __future__ import annotations

import argparse
import json
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
from cli.commands.compose_inject import override_path
from cli.commands.compose_options import add_recipe, options_of
from cli.commands.compose_zone import with_agents_names, zones_for
from cli.compose.discovered_names import ZONE
from cli.compose.errors import ComposeError, Place
from cli.compose.existing_agents import ExistingAgents, agents_with, existing_agents
from cli.compose.file_replacement import held
from cli.compose.model import Project
from cli.compose.reader import MAX_FILE_BYTES
from cli.compose.rewrite import rewritten
from cli.compose.sidecar_plan import planned
from cli.compose.sidecars import Recipe
from cli.compose.undo_rewrite import undone
from cli.compose.value_edits import Rewriting
from cli.options import JSON, STDOUT, add_destination
from cli.parser import CommandParser, WrongUsage, file_path
from cli.plurals import counted
from cli.streams import write_file
from cli.terminal import printable

HOST_HEADER: Final = (
    "requests over HTTP carry the new name as their Host: a server that checks it (Django's ALLOWED_HOSTS) or chooses "
    "by it (a name-based virtual host) must know that name"
)
_REPLACED: Final = ("address replaced", "addresses replaced")
_TURNED_BACK: Final = ("name turned back", "names turned back")
EPILOG: Final = f"""examples:
  vertice compose rewrite compose.yml --recipe netns       show the result before there are agents
  vertice compose inject compose.yml && vertice compose rewrite compose.yml
  vertice compose rewrite compose.yml > names.patch
  vertice compose rewrite compose.yml --write
  vertice compose rewrite compose.yml --undo --write

{EXIT_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice compose rewrite`."""
    parser.add_argument("file", metavar="FILE", type=file_path, help="a compose file")
    parser.add_argument(
        "--override",
        metavar="FILE",
        type=file_path,
        help="the file with the agents (default: the one that inject writes)",
    )
    add_recipe(parser, default=None)
    parser.set_defaults(zone=None)
    parser.add_argument("--undo", action="store_true", help="turn discovered names back into those of services")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--write", action="store_true", help="write FILE")
    add_destination(parser, where, "write another file, which must not exist")


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice compose rewrite` and return its exit code."""
    return told(_rewrite, arguments)


def _rewrite(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    _check(arguments)
    path: Path = arguments.file
    file = opened(path)
    project = project_with(file.name, file.text, environment)
    project = with_agents_names(path, project, environment, arguments.override)
    if arguments.undo:
        outcome = undone(file.text, project, zones_for(path, project, arguments.zone, environment, arguments.override))
    else:
        outcome = rewritten(file.text, project, _standing(arguments, file, project, environment))
    shown, written = _deliver(arguments, file, outcome)
    _report(arguments, file, outcome, shown, written)
    return code_of(complete=not outcome.unchanged)


def _check(arguments: argparse.Namespace) -> None:
    """Raise WrongUsage for an option that would have no effect."""
    if arguments.undo and arguments.recipe is not None:
        raise WrongUsage("--recipe has no effect with --undo")
    if arguments.host_address and arguments.recipe != Recipe.HOST:
        raise WrongUsage("--host-address has no effect without --recipe host")
    if arguments.override is not None and arguments.recipe is not None:
        raise WrongUsage("--override has no effect with --recipe, which assumes agents")


def _deliver(arguments: argparse.Namespace, file: Text, outcome: Rewriting) -> tuple[str, str | None]:
    """Write the result where the arguments say. Return what is shown instead, and the file that was written."""
    data = file.bytes_of(outcome.text)
    if arguments.write:
        return "", file.name if write(file.file, data) else None
    if arguments.to is None:
        return difference(file.name, file.text, outcome.text), None
    if str(arguments.to) == STDOUT:
        return outcome.text, None
    target = held(arguments.to, MAX_FILE_BYTES)
    if target.data not in (None, data):
        raise ComposeError("it exists already", code="not-made", place=Place(str(arguments.to)))
    write(target, data)
    return "", str(arguments.to)


def _report(arguments: argparse.Namespace, file: Text, outcome: Rewriting, shown: str, written: str | None) -> None:
    """Print what is shown on stdout and the report on stderr; as JSON, all but a file for stdout is on stdout."""
    fixed = [str(change) for change in outcome.changes if change.why]
    unchanged = [str(one) for one in outcome.unchanged]
    over_http = not arguments.undo and any(change.over_http for change in outcome.changes)
    notes = [HOST_HEADER] if over_http else []
    to_stdout = str(arguments.to) == STDOUT
    if arguments.output == JSON:
        report = {
            "file": file.name,
            "written": written,
            "changes": [str(change) for change in outcome.changes],
            "kept": unchanged,
            "notes": notes,
            **({} if to_stdout else {"diff": shown}),
        }
        if to_stdout:
            write_file(shown)
        print(json.dumps(report, indent=2), file=sys.stderr if to_stdout else sys.stdout)
        return
    write_file(shown)
    for kind, lines in (("fixed", fixed), ("kept", unchanged), ("note", notes)):
        for line in lines:
            print(f"{kind}: {line}", file=sys.stderr)
    what = counted(len(outcome.changes), *(_TURNED_BACK if arguments.undo else _REPLACED))
    done = f"{printable(written)} written" if written else "nothing was written"
    print(f"{printable(file.name)}: {what}, {len(unchanged)} kept; {done}", file=sys.stderr)


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
