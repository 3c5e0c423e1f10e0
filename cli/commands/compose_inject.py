"""Put an agent beside every service of a compose file: as an override file, or into the file itself.

Each agent is told what the file says of its service: its name, its port, and how it is checked. Without --write or
--output an override file is written beside FILE (compose.yml: compose.vertice.yml). It is made anew each time;
a file that was not made by this command is never written over. Run it again after a change of FILE: what is up to
date is left as it is, and another recipe takes the place of the one before.

Recipes:
  netns    an agent in the network namespace of each service, which is also its resolver: the service finds others
           by name, and localhost:8880 answers in it
  beside   an agent on the networks of each service: the service is found, and is not changed at all
  host     one agent in the network of the host for all services that publish a port there, and their resolver
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from cli.commands.compose_edit import EXIT_CODES, code_of, difference, opened, project_with, told, write
from cli.compose.errors import ComposeError, Place
from cli.compose.injecting import MADE, ejected, injected, override_text
from cli.compose.planning import Planning, planned
from cli.compose.reader import MAX_FILE_BYTES
from cli.compose.replacing import held
from cli.compose.sidecars import FORWARD, HOST_REGISTRY, IMAGE, REGISTRY, Options, Recipe
from cli.terminal import printable
from registry_core.domain.names import check_host
from registry_core.errors import ValidationError

EPILOG: Final = f"""examples:
  vertice compose inject compose.yml
  docker compose -f compose.yml -f compose.vertice.yml up -d
  vertice compose inject compose.yml --service billing --service orders --recipe beside
  vertice compose inject compose.yml --recipe host --host-address 172.17.0.1
  vertice compose inject compose.yml --diff          what --write would change
  vertice compose inject compose.yml --write         vertice compose eject takes it out again, to the byte
  vertice compose inject compose.yml --output -      the override file, on stdout

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice compose inject`."""
    default = Options()
    parser.add_argument("file", metavar="FILE", type=Path, help="a compose file")
    parser.add_argument(
        "--service", metavar="NAME", action="append", default=[], help="only this service (repeat it for several)"
    )
    add_recipe(parser, default=default.recipe)
    parser.add_argument(
        "--no-databases", action="store_true", help="leave databases and brokers out, unless named by --service"
    )
    parser.add_argument("--image", default=IMAGE, help=f"the agent's image (default: {IMAGE})")
    parser.add_argument(
        "--registry", metavar="URL", help=f"the registry, or several (default: {REGISTRY}; host: {HOST_REGISTRY})"
    )
    parser.add_argument(
        "--forward",
        metavar="ADDRESSES",
        default="",
        help=f"netns: who is asked for names of others (default: $VERTICE_DNS_FORWARD when it starts, else {FORWARD})",
    )
    parser.add_argument("--podman", action="store_true", help="netns: let agents listen on port 53, as Docker does")
    parser.add_argument("--memory", default=default.memory, help=f"an agent's limit (default: {default.memory})")
    parser.add_argument("--cpus", default=default.cpus, help=f"an agent's limit (default: {default.cpus})")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--output", metavar="FILE", type=Path, help="the override file (`-`: stdout)")
    where.add_argument("--write", action="store_true", help="put the agents into FILE itself")
    where.add_argument("--diff", action="store_true", help="show what --write would change, and write nothing")


def add_recipe(parser: argparse.ArgumentParser, *, default: Recipe | None) -> None:
    """Add the arguments that say how agents stand beside services."""
    parser.add_argument(
        "--recipe", choices=[r.value for r in Recipe], default=default and default.value, help="netns, beside or host"
    )
    parser.add_argument(
        "--host-address", metavar="ADDRESS", default="", help="host: where containers and others reach this host"
    )
    parser.add_argument("--zone", default=Options().zone, help=f"the DNS zone (default: {Options().zone})")


def options_of(arguments: argparse.Namespace) -> Options:
    """Return the options of recipe, address and zone. Raises ComposeError when the recipe lacks one."""
    recipe = Recipe(arguments.recipe)
    if recipe is Recipe.HOST and not arguments.host_address:
        reason = "recipe host needs --host-address: where containers and others reach this host"
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
        raise ComposeError("it is an override file made by this command: name the file that it is for", code="made")
    base = ejected(file.text)
    project = project_with(file.name, base, environment)
    planning = planned(project, options, arguments.service, databases=not arguments.no_databases)
    sidecars = list(planning.sidecars)
    say = sys.stderr if arguments.diff or str(arguments.output) == "-" else sys.stdout
    if arguments.write or arguments.diff:
        after = injected(file.text, sidecars, options)
        done = _into(path, file.text, after, diff=arguments.diff)
        if override_path(path).exists():
            print(f"note: {printable(str(override_path(path)))} is there as well: do not use both", file=say)
        if arguments.write and not write(file.file, file.bytes_of(after)):
            done = f"{printable(file.name)}: is as it is to be already"
    else:
        if base != file.text:
            raise ComposeError(
                "there are agents in it: `vertice compose eject --write` takes them out, or use --write here, too",
                code="injected",
                place=Place(file.name),
            )
        done = _override(path, arguments.output or override_path(path), planning, options)
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


def override_path(path: Path) -> Path:
    """Return where the override file of a compose file is, unless another place is named."""
    return path.with_name(f"{path.stem}.vertice{path.suffix or '.yml'}")


def _into(path: Path, before: str, after: str, *, diff: bool) -> str:
    if diff:
        sys.stdout.write(difference(str(path), before, after))
        return "Nothing was written."
    return f"{printable(str(path))}: written; `vertice compose eject {printable(str(path))} --write` takes them out"


def _override(path: Path, output: Path, planning: Planning, options: Options) -> str:
    if not planning.sidecars:
        return "Nothing was written."
    text = override_text(list(planning.sidecars), options, path.name, output.name)
    if str(output) == "-":
        sys.stdout.write(text)
        return "Nothing was written."
    before = held(output, MAX_FILE_BYTES)
    if before.data is not None and not before.data.startswith(MADE.encode()):
        raise ComposeError(
            "it is there, and was not made by this command: name another --output",
            code="not-made",
            place=Place(str(output)),
        )
    shown = printable(str(output))
    if not write(before, text.encode()):
        return f"{shown}: is as it is to be already"
    return f"{shown}: written. docker compose -f {printable(str(path))} -f {shown} up -d"
