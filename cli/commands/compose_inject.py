"""Add an agent to every service of a compose file, in an override file or in the file itself.

Each agent gets its settings from the file: name, port and health check of its service. Without --write or --to
the command writes an override file next to FILE (compose.yml: compose.vertice.yml). It rewrites that file each
time, and never overwrites a file that it did not make. Run it again when FILE has changed: agents that are up to date
stay as they are, and another recipe replaces the earlier one.

Recipes:
  netns    an agent in the network namespace of each service, and its resolver: the service finds others by name
           and at localhost:8880
  beside   an agent on the networks of each service: others find the service, which does not change at all
  host     one agent in the network of the host, and the resolver of all services that publish a port there
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

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
from cli.commands.compose_options import add_agents, add_recipe, all_options_of, usage_error
from cli.compose import agent_options
from cli.compose.errors import ComposeError, Place
from cli.compose.existing_agents import existing_agents
from cli.compose.file_replacement import held
from cli.compose.inject import MADE, ejected, injected, override_text
from cli.compose.model import Project
from cli.compose.next_steps import SetupState, next_steps
from cli.compose.reader import MAX_FILE_BYTES
from cli.compose.registered_names import RegisteredNames
from cli.compose.registry_service import unreached
from cli.compose.sidecar_plan import Planning, planned
from cli.compose.sidecars import OLDER_SECRET_VARIABLE, REGISTRY_SERVICE, SECRET_VARIABLE, Options, with_names
from cli.options import JSON, STDOUT, add_destination
from cli.parser import CommandParser, file_path
from cli.plurals import counted
from cli.streams import write_file
from cli.terminal import printable

# Where our Dockerfiles are, in a checkout.
SOURCE: Final = Path(__file__).resolve().parents[2]
EPILOG: Final = f"""examples:
  vertice compose inject compose.yml
  docker compose -f compose.yml -f compose.vertice.yml up -d
  vertice compose inject compose.yml --with-registry        with a registry for the agents, too
  vertice compose inject compose.yml --service billing --service orders --recipe beside
  vertice compose inject compose.yml --recipe host --host-address 172.17.0.1
  vertice compose inject compose.yml --diff          show what --write would change
  vertice compose inject compose.yml --write         undo with `vertice compose eject`
  vertice compose inject compose.yml --to -          the override file, on stdout

{EXIT_CODES}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice compose inject`."""
    parser.add_argument("file", metavar="FILE", type=file_path, help="a compose file")
    parser.add_argument(
        "--service", metavar="NAME", action="append", default=[], help="only this service; may be repeated"
    )
    add_recipe(parser, default=Options().recipe)
    parser.add_argument(
        "--no-databases", action="store_true", help="leave out databases and brokers that --service does not name"
    )
    add_agents(parser)
    where = parser.add_mutually_exclusive_group()
    add_destination(parser, where, "the override file")
    where.add_argument("--write", action="store_true", help="add the agents to FILE itself")
    where.add_argument("--diff", action="store_true", help="show what --write would change; write nothing")


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice compose inject` and return its exit code."""
    return told(_inject, arguments)


def _inject(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    path: Path = arguments.file
    file = opened(path)
    if file.text.startswith(MADE):
        raise ComposeError("it is an override file made by this command: name the original file", code="made")
    base = ejected(file.text)
    project = project_with(file.name, base, environment)
    options = all_options_of(arguments, project)
    overrides = dict.fromkeys((override_path(path), arguments.to or override_path(path)))
    project = with_names(project, _names(project, overrides, file, base))
    planning = planned(project, options, arguments.service, databases=not arguments.no_databases)
    sidecars = list(planning.sidecars)
    has_registry = _has_registry(arguments, project, planning, options)
    if arguments.write or arguments.diff:
        after = injected(file.text, sidecars, options)
        done = _into(file, after, diff=arguments.diff)
    else:
        if base != file.text:
            raise ComposeError(
                "it has agents already: remove them with `vertice compose eject --write`, or use --write here too",
                code="injected",
                place=Place(file.name),
            )
        done = _override(path, arguments.to or override_path(path), planning, options, base)
    notes = [str(note) for note in (*project.problems, *planning.notes)]
    if (arguments.write or arguments.diff) and override_path(path).exists():
        notes.insert(0, f"{printable(str(override_path(path)))} exists as well: do not use both")
    size = agent_options.bytes_of(options.memory)
    if size is not None and size < agent_options.ENOUGH_MEMORY:
        notes.append(f"--memory {options.memory}: an agent in a large fleet needs 64M")
    steps = [] if arguments.diff or not sidecars else _steps(arguments, options, environment, has_registry=has_registry)
    _report(arguments, planning, options, notes, done._replace(steps=steps))
    return code_of(complete=not planning.left_out and bool(sidecars))


def _has_registry(arguments: argparse.Namespace, project: Project, planning: Planning, options: Options) -> bool:
    """Return whether the agents have a registry. Raises ComposeError when they cannot reach the one that is named."""
    if options.registry_image:
        return True
    found = list(unreached(options.registry, project, planning.sidecars, options))
    for one in found:
        if arguments.registry is not None:
            reason = f"--registry: the agents{one.of} cannot reach {one.url}: {one.why}"
            raise usage_error(arguments, reason, "--registry http://10.0.0.2:8888, or --with-registry")
    return arguments.registry is not None or (REGISTRY_SERVICE in project.services and not found)


def _steps(
    arguments: argparse.Namespace, options: Options, environment: Mapping[str, str], *, has_registry: bool
) -> list[str]:
    """Return what is left to do until the fleet runs with its agents."""
    path: Path = arguments.file
    output: Path = arguments.to or override_path(path)
    files = [path] if arguments.write else [] if str(output) == STDOUT else [path, output]
    variables = variables_with(str(path), environment)
    # The registry that this command adds reads the variable under its present name alone.
    names = (SECRET_VARIABLE,) if options.registry_image else (SECRET_VARIABLE, OLDER_SECRET_VARIABLE)
    state = SetupState(
        files=tuple(printable(str(file)) for file in files),
        env_file=printable(str(path.with_name(".env"))),
        source=str(SOURCE) if (SOURCE / "Dockerfile.agent").is_file() else "",
        has_registry=has_registry,
        has_token=any(variables.get(name, "").strip() for name in names),
    )
    return [str(step) for step in next_steps(options, state)]


def _names(project: Project, overrides: Iterable[Path], file: Text, base: str) -> Mapping[str, str]:
    """Return the names that existing agents register in the place of names that cannot be: they stay.

    Addresses may have been rewritten to them, and the project may be called otherwise by now.
    """
    mapped = RegisteredNames(project)
    texts = [file.text] if base != file.text else []
    made = (opened(override).text for override in overrides if override.is_file())
    texts += (text for text in made if text.startswith(MADE))
    return {
        service: name
        for text in texts
        for service, name in existing_agents(text, {}).names.items()
        if mapped.of(service).why
    }


def override_path(path: Path) -> Path:
    """Return the default path of a compose file's override file."""
    return path.with_name(f"{path.stem}.vertice{path.suffix or '.yml'}")


class _Result(NamedTuple):
    """What was done, the file that was written, the text to show instead of writing it, and what is left to do."""

    done: str
    written: str | None = None
    shown: str = ""
    steps: Sequence[str] = ()


def _report(
    arguments: argparse.Namespace, planning: Planning, options: Options, notes: Sequence[str], result: _Result
) -> None:
    """Print what was done. It goes to stderr where the file itself goes to stdout."""
    to_stdout = str(arguments.to) == STDOUT
    if arguments.output == JSON:
        report = {
            "file": str(arguments.file),
            "recipe": options.recipe.value,
            "written": result.written,
            "services": [sidecar.service for sidecar in planning.sidecars],
            "left_out": [str(remark) for remark in planning.left_out],
            "notes": notes,
            "next": list(result.steps),
            **({"diff": result.shown} if arguments.diff else {}),
        }
        if to_stdout:
            write_file(result.shown)
        print(json.dumps(report, indent=2), file=sys.stderr if to_stdout else sys.stdout)
        return
    write_file(result.shown)
    say = sys.stderr if arguments.diff or to_stdout else sys.stdout
    for remark in planning.left_out:
        print(f"left out: {remark}", file=say)
    for note in notes:
        print(f"note: {note}", file=say)
    count = counted(len(planning.sidecars), "service")
    print(f"{count} with an agent (recipe {options.recipe.value}), {len(planning.left_out)} left out.", file=say)
    print(result.done, file=say)
    if result.steps:
        print("\n  ".join(("Next:", *result.steps)), file=say)


def _into(file: Text, after: str, *, diff: bool) -> _Result:
    """Add the agents to the file itself, or show the difference."""
    if diff:
        return _Result("Nothing was written.", shown=difference(file.name, file.text, after))
    shown = printable(file.name)
    if not write(file.file, file.bytes_of(after)):
        return _Result(f"{shown}: is up to date")
    return _Result(f"{shown}: written; `vertice compose eject {shown} --write` removes them", file.name)


def _override(path: Path, output: Path, planning: Planning, options: Options, base: str) -> _Result:
    """Write the override file, or show it. Raises ComposeError, OSError."""
    if not planning.sidecars:
        return _Result("Nothing was written.")
    shown_as = override_path(path) if str(output) == STDOUT else output
    text = override_text(list(planning.sidecars), options, path.name, shown_as.name, base)
    if str(output) == STDOUT:
        return _Result("Nothing was written.", shown=text)
    before = held(output, MAX_FILE_BYTES)
    if before.data is not None and not before.data.startswith(MADE.encode()):
        raise ComposeError(
            "it exists and was not made by this command: name another file with --to",
            code="not-made",
            place=Place(str(output)),
        )
    shown = printable(str(output))
    if not write(before, text.encode()):
        return _Result(f"{shown}: is up to date")
    return _Result(f"{shown}: written", str(output))
