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
from typing import Final, TextIO

import msgspec

from cli.arguments import argument
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
from cli.compose import agent_options
from cli.compose.agent_options import with_variables
from cli.compose.errors import ComposeError, Place
from cli.compose.existing_agents import existing_agents
from cli.compose.file_replacement import held
from cli.compose.inject import MADE, ejected, injected, override_text
from cli.compose.model import Project
from cli.compose.next_steps import SetupState, next_steps
from cli.compose.reader import MAX_FILE_BYTES
from cli.compose.registered_names import RegisteredNames
from cli.compose.registry_service import free_host_port, unreached
from cli.compose.sidecar_plan import Planning, planned
from cli.compose.sidecars import (
    FORWARD,
    HOST_REGISTRY,
    IMAGE,
    REGISTRY,
    REGISTRY_IMAGE,
    REGISTRY_PORT,
    REGISTRY_SERVICE,
    TOKEN,
    Options,
    Recipe,
    with_names,
)
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
    parser.add_argument(
        "--image",
        type=argument(with_variables(agent_options.image), "registry.example/vertice-agent:1.0"),
        default=IMAGE,
        help=f"the agent's image (default: {IMAGE})",
    )
    central = parser.add_mutually_exclusive_group()
    central.add_argument(
        "--registry",
        metavar="URL",
        type=argument(with_variables(agent_options.registries), "http://10.0.0.2:8888"),
        help=f"the registry, or several (default: {REGISTRY}; host: {HOST_REGISTRY})",
    )
    central.add_argument(
        "--with-registry", action="store_true", help=f"add a registry as well: the service {REGISTRY_SERVICE}"
    )
    parser.add_argument(
        "--registry-image",
        metavar="IMAGE",
        type=argument(with_variables(agent_options.image), "registry.example/vertice-registry:1.0"),
        help=f"--with-registry: the registry's image (default: {REGISTRY_IMAGE})",
    )
    parser.add_argument(
        "--forward",
        metavar="ADDRESSES",
        type=argument(with_variables(agent_options.resolvers), "10.0.0.2,corp.example=10.0.0.3"),
        help=f"netns: resolvers for other names (default: $VERTICE_DNS_FORWARD at the start, else {FORWARD})",
    )
    parser.add_argument(
        "--podman", action="store_true", help="netns: allow agents to listen on port 53, as Docker does by itself"
    )
    parser.add_argument(
        "--memory",
        type=argument(with_variables(agent_options.memory), default.memory),
        default=default.memory,
        help=f"the memory limit of an agent (default: {default.memory})",
    )
    parser.add_argument(
        "--cpus",
        type=argument(with_variables(agent_options.cpus), default.cpus),
        default=default.cpus,
        help=f"the processor limit of an agent (default: {default.cpus})",
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
        type=argument(with_variables(agent_options.host_address), "172.17.0.1"),
        help="host: the address at which containers and other machines reach this host",
    )
    parser.add_argument(
        "--zone",
        type=argument(agent_options.zone, Options().zone),
        default=Options().zone,
        help=f"the DNS zone (default: {Options().zone})",
    )


def options_of(arguments: argparse.Namespace) -> Options:
    """Return the options of recipe, address and zone. Raises ComposeError when they do not go together."""
    recipe = Recipe(arguments.recipe)
    if recipe is Recipe.HOST and not arguments.host_address:
        reason = "recipe host needs --host-address: the address at which containers and other machines reach this host"
        raise _usage(arguments, reason, "--host-address 172.17.0.1")
    if recipe is not Recipe.HOST and arguments.host_address:
        raise _usage(arguments, f"--host-address is for recipe host, and the recipe is {recipe.value}", "--recipe host")
    return Options(recipe=recipe, host_address=arguments.host_address or "", zone=arguments.zone)


def _usage(arguments: argparse.Namespace, reason: str, example: str | None = None) -> ComposeError:
    return ComposeError(reason, code="usage", place=Place(str(arguments.file)), example=example)


def _all_options(arguments: argparse.Namespace, project: Project) -> Options:
    """Return all options for a project. Raises ComposeError when they do not go together."""
    options = options_of(arguments)
    recipe = options.recipe
    if arguments.podman and recipe is not Recipe.NETNS:
        raise _usage(arguments, f"--podman is for recipe netns, and the recipe is {recipe.value}")
    if arguments.forward and recipe is Recipe.BESIDE:
        raise _usage(arguments, "--forward is not for recipe beside, whose agents answer no lookups")
    if arguments.forward and recipe is Recipe.NETNS and agent_options.asks_itself(arguments.forward):
        reason = (
            "--forward: in the network of a service, that resolver asks the agent: the question would go in a circle"
        )
        raise _usage(arguments, reason, "--forward 10.0.0.2")
    if arguments.registry_image and not arguments.with_registry:
        raise _usage(arguments, "--registry-image is for --with-registry")
    if arguments.with_registry and REGISTRY_SERVICE in project.services:
        reason = (
            f"--with-registry: it has a service {REGISTRY_SERVICE} already, which the agents use without that option"
        )
        raise _usage(arguments, reason)
    port = free_host_port(project) if arguments.with_registry else REGISTRY_PORT
    default = f"http://127.0.0.1:{port}" if recipe is Recipe.HOST else REGISTRY
    return msgspec.structs.replace(
        options,
        image=arguments.image,
        registry=arguments.registry or default,
        forward=arguments.forward or "",
        memory=arguments.memory,
        podman=arguments.podman,
        cpus=arguments.cpus,
        registry_image=(arguments.registry_image or REGISTRY_IMAGE) if arguments.with_registry else "",
        registry_port=port,
    )


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
    options = _all_options(arguments, project)
    overrides = dict.fromkeys((override_path(path), arguments.output or override_path(path)))
    project = with_names(project, _names(project, overrides, file, base))
    planning = planned(project, options, arguments.service, databases=not arguments.no_databases)
    sidecars = list(planning.sidecars)
    has_registry = _has_registry(arguments, project, planning, options)
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
    size = agent_options.bytes_of(options.memory)
    if size is not None and size < agent_options.ENOUGH_MEMORY:
        print(f"note: --memory {options.memory}: an agent in a large fleet needs 64M", file=say)
    count = len(planning.sidecars)
    print(
        f"{count} services with an agent (recipe {options.recipe.value}), {len(planning.left_out)} left out.", file=say
    )
    print(done, file=say)
    if sidecars and not arguments.diff:
        _print_steps(arguments, options, environment, say, has_registry=has_registry)
    return code_of(complete=not planning.left_out and count > 0)


def _has_registry(arguments: argparse.Namespace, project: Project, planning: Planning, options: Options) -> bool:
    """Return whether the agents have a registry. Raises ComposeError when they cannot reach the one that is named."""
    if options.registry_image:
        return True
    found = list(unreached(options.registry, project, planning.sidecars, options))
    for one in found:
        if arguments.registry is not None:
            reason = f"--registry: the agents{one.of} cannot reach {one.url}: {one.why}"
            raise _usage(arguments, reason, "--registry http://10.0.0.2:8888, or --with-registry")
    return arguments.registry is not None or (REGISTRY_SERVICE in project.services and not found)


def _print_steps(
    arguments: argparse.Namespace, options: Options, environment: Mapping[str, str], say: TextIO, *, has_registry: bool
) -> None:
    """Print what is left to do until the fleet runs with its agents."""
    path: Path = arguments.file
    output: Path = arguments.output or override_path(path)
    files = [path] if arguments.write else [] if str(output) == "-" else [path, output]
    start = SetupState(
        files=tuple(printable(str(file)) for file in files),
        env_file=printable(str(path.with_name(".env"))),
        source=str(SOURCE) if (SOURCE / "Dockerfile.agent").is_file() else "",
        has_registry=has_registry,
        has_token=bool(variables_with(str(path), environment).get(TOKEN, "").strip()),
    )
    print("Next:", file=say)
    for step in next_steps(options, start):
        print(f"  {step}", file=say)


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
    shown_as = override_path(path) if str(output) == "-" else output
    text = override_text(list(planning.sidecars), options, path.name, shown_as.name, base)
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
    return f"{shown}: written"
