"""Add an agent to every service of a compose file, in an override file or in the file itself.

Each agent gets its settings from the file: name, port and health check of its service. Without --write or --output
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
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from cli.commands.compose_edit import EXIT_CODES, Text, code_of, difference, opened, project_with, told, write
from cli.compose.errors import ComposeError, Place
from cli.compose.existing_agents import existing_agents
from cli.compose.file_replacement import held
from cli.compose.inject import MADE, ejected, injected, override_text
from cli.compose.model import Project
from cli.compose.reader import MAX_FILE_BYTES
from cli.compose.registered_names import RegisteredNames
from cli.compose.sidecar_plan import Planning, planned
from cli.compose.sidecars import FORWARD, HOST_REGISTRY, IMAGE, REGISTRY, Options, Recipe, with_names
from cli.terminal import printable
from registry_core.domain.names import check_host
from registry_core.errors import ValidationError

EPILOG: Final = f"""examples:
  vertice compose inject compose.yml
  docker compose -f compose.yml -f compose.vertice.yml up -d
  vertice compose inject compose.yml --service billing --service orders --recipe beside
  vertice compose inject compose.yml --recipe host --host-address 172.17.0.1
  vertice compose inject compose.yml --diff          show what --write would change
  vertice compose inject compose.yml --write         undo with `vertice compose eject`
  vertice compose inject compose.yml --output -      the override file, on stdout

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice compose inject`."""
    default = Options()
    parser.add_argument("file", metavar="FILE", type=Path, help="a compose file")
    parser.add_argument(
        "--service", metavar="NAME", action="append", default=[], help="only this service; may be repeated"
    )
    add_recipe(parser, default=default.recipe)
    parser.add_argument(
        "--no-databases", action="store_true", help="leave out databases and brokers that --service does not name"
    )
    parser.add_argument("--image", default=IMAGE, help=f"the agent's image (default: {IMAGE})")
    parser.add_argument(
        "--registry", metavar="URL", help=f"the registry, or several (default: {REGISTRY}; host: {HOST_REGISTRY})"
    )
    parser.add_argument(
        "--forward",
        metavar="ADDRESSES",
        default="",
        help=f"netns: resolvers for other names (default: $VERTICE_DNS_FORWARD at the start, else {FORWARD})",
    )
    parser.add_argument(
        "--podman", action="store_true", help="netns: allow agents to listen on port 53, as Docker does by itself"
    )
    parser.add_argument(
        "--memory", default=default.memory, help=f"the memory limit of an agent (default: {default.memory})"
    )
    parser.add_argument(
        "--cpus", default=default.cpus, help=f"the processor limit of an agent (default: {default.cpus})"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", metavar="FILE", type=Path, help="the override file (`-`: stdout)")
    where.add_argument("--write", action="store_true", help="add the agents to FILE itself")
    where.add_argument("--diff", action="store_true", help="show what --write would change; write nothing")


def add_recipe(parser: argparse.ArgumentParser, *, default: Recipe | None) -> None:
    """Add the arguments that choose the recipe."""
    parser.add_argument(
        "--recipe", choices=[r.value for r in Recipe], default=default and default.value, help="netns, beside or host"
    )
    parser.add_argument(
        "--host-address",
        metavar="ADDRESS",
        default="",
        help="host: the address at which containers and other machines reach this host",
    )
    parser.add_argument("--zone", default=Options().zone, help=f"the DNS zone (default: {Options().zone})")


def options_of(arguments: argparse.Namespace) -> Options:
    """Return the options of recipe, address and zone. Raises ComposeError when the recipe lacks one."""
    recipe = Recipe(arguments.recipe)
    if recipe is Recipe.HOST and not arguments.host_address:
        reason = "recipe host needs --host-address: the address at which containers and other machines reach this host"
        raise ComposeError(reason, code="usage", place=Place(str(arguments.file)), example="--host-address 172.17.0.1")
    try:
        check_host(arguments.zone)
    except ValidationError as error:
        raise ComposeError(f"--zone: {error.message}", code="usage", place=Place(str(arguments.file))) from None
    return Options(recipe=recipe, host_address=arguments.host_address, zone=arguments.zone)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice compose inject` and return its exit code."""
    return told(_inject, arguments)


def _inject(arguments: argparse.Namespace, environment: Mapping[str, str]) -> int:
    options = options_of(arguments)
    options = msgspec.structs.replace(
        options,
        image=arguments.image,
        registry=arguments.registry or (HOST_REGISTRY if options.recipe is Recipe.HOST else REGISTRY),
        forward=arguments.forward,
        memory=arguments.memory,
        podman=arguments.podman,
        cpus=arguments.cpus,
    )
    path: Path = arguments.file
    file = opened(path)
    if file.text.startswith(MADE):
        raise ComposeError("it is an override file made by this command: name the original file", code="made")
    base = ejected(file.text)
    project = project_with(file.name, base, environment)
    overrides = dict.fromkeys((override_path(path), arguments.output or override_path(path)))
    project = with_names(project, _names(project, overrides, file, base))
    planning = planned(project, options, arguments.service, databases=not arguments.no_databases)
    sidecars = list(planning.sidecars)
    say = sys.stderr if arguments.diff or str(arguments.output) == "-" else sys.stdout
    if arguments.write or arguments.diff:
        after = injected(file.text, sidecars, options)
        done = _into(path, file.text, after, diff=arguments.diff)
        if override_path(path).exists():
            print(f"note: {printable(str(override_path(path)))} exists as well: do not use both", file=say)
        if arguments.write and not write(file.file, file.bytes_of(after)):
            done = f"{printable(file.name)}: is up to date"
    else:
        if base != file.text:
            raise ComposeError(
                "it has agents already: remove them with `vertice compose eject --write`, or use --write here too",
                code="injected",
                place=Place(file.name),
            )
        done = _override(path, arguments.output or override_path(path), planning, options, base)
    for remark in planning.left_out:
        print(f"left out: {remark}", file=say)
    for note in (*project.problems, *planning.notes):
        print(f"note: {note}", file=say)
    count = len(planning.sidecars)
    print(
        f"{count} services with an agent (recipe {options.recipe.value}), {len(planning.left_out)} left out.", file=say
    )
    print(done, file=say)
    return code_of(complete=not planning.left_out and count > 0)


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


def _into(path: Path, before: str, after: str, *, diff: bool) -> str:
    if diff:
        sys.stdout.write(difference(str(path), before, after))
        return "Nothing was written."
    return f"{printable(str(path))}: written; `vertice compose eject {printable(str(path))} --write` removes them"


def _override(path: Path, output: Path, planning: Planning, options: Options, base: str) -> str:
    if not planning.sidecars:
        return "Nothing was written."
    text = override_text(list(planning.sidecars), options, path.name, output.name, base)
    if str(output) == "-":
        sys.stdout.write(text)
        return "Nothing was written."
    before = held(output, MAX_FILE_BYTES)
    if before.data is not None and not before.data.startswith(MADE.encode()):
        raise ComposeError(
            "it exists and was not made by this command: name another --output",
            code="not-made",
            place=Place(str(output)),
        )
    shown = printable(str(output))
    if not write(before, text.encode()):
        return f"{shown}: is up to date"
    return f"{shown}: written. docker compose -f {printable(str(path))} -f {shown} up -d"
