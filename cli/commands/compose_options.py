"""The arguments of the commands that add agents: recipe, image, limits, registry, resolvers and zone, all checked."""

from __future__ import annotations

import argparse

import msgspec

from cli.compose import agent_options
from cli.compose.agent_options import with_variables
from cli.compose.errors import ComposeError, Place
from cli.compose.model import Project
from cli.compose.registry_service import free_host_port
from cli.compose.sidecars import (
    FORWARD,
    HOST_REGISTRY,
    IMAGE,
    REGISTRY,
    REGISTRY_IMAGE,
    REGISTRY_PORT,
    REGISTRY_SERVICE,
    Options,
    Recipe,
)
from cli.parser import CommandParser, value


def add_agents(parser: CommandParser) -> None:
    """Add what all agents are told, and the registry that is added with them."""
    default = Options()
    parser.add_argument(
        "--image",
        type=value(with_variables(agent_options.image), "registry.example/vertice-agent:1.0"),
        default=IMAGE,
        help=f"the agent's image (default: {IMAGE})",
    )
    central = parser.add_mutually_exclusive_group()
    central.add_argument(
        "--registry",
        metavar="URL",
        type=value(with_variables(agent_options.registries), "http://10.0.0.2:8888"),
        help=f"the registry, or several (default: {REGISTRY}; host: {HOST_REGISTRY})",
    )
    central.add_argument(
        "--with-registry", action="store_true", help=f"add a registry as well: the service {REGISTRY_SERVICE}"
    )
    parser.add_argument(
        "--registry-image",
        metavar="IMAGE",
        type=value(with_variables(agent_options.image), "registry.example/vertice-registry:1.0"),
        help=f"--with-registry: the registry's image (default: {REGISTRY_IMAGE})",
    )
    parser.add_argument(
        "--forward",
        metavar="ADDRESSES",
        type=value(with_variables(agent_options.resolvers), "10.0.0.2,corp.example=10.0.0.3"),
        help=f"netns: resolvers for other names (default: $VERTICE_DNS_FORWARD at the start, else {FORWARD})",
    )
    parser.add_argument(
        "--podman", action="store_true", help="netns: allow agents to listen on port 53, as Docker does by itself"
    )
    parser.add_argument(
        "--memory",
        type=value(with_variables(agent_options.memory), default.memory),
        default=default.memory,
        help=f"the memory limit of an agent (default: {default.memory})",
    )
    parser.add_argument(
        "--cpus",
        type=value(with_variables(agent_options.cpus), default.cpus),
        default=default.cpus,
        help=f"the processor limit of an agent (default: {default.cpus})",
    )


def add_recipe(parser: CommandParser, *, default: Recipe | None) -> None:
    """Add the arguments that choose the recipe."""
    parser.add_argument(
        "--recipe", choices=[r.value for r in Recipe], default=default and default.value, help="netns, beside or host"
    )
    parser.add_argument(
        "--host-address",
        metavar="ADDRESS",
        type=value(with_variables(agent_options.host_address), "172.17.0.1"),
        help="host: the address at which containers and other machines reach this host",
    )
    parser.add_argument(
        "--zone",
        type=value(agent_options.zone, Options().zone),
        default=Options().zone,
        help=f"the DNS zone (default: {Options().zone})",
    )


def options_of(arguments: argparse.Namespace) -> Options:
    """Return the options of recipe, address and zone. Raises ComposeError when they do not go together."""
    recipe = Recipe(arguments.recipe)
    if recipe is Recipe.HOST and not arguments.host_address:
        reason = "recipe host needs --host-address: the address at which containers and other machines reach this host"
        raise usage_error(arguments, reason, "--host-address 172.17.0.1")
    if recipe is not Recipe.HOST and arguments.host_address:
        raise usage_error(
            arguments, f"--host-address is for recipe host, and the recipe is {recipe.value}", "--recipe host"
        )
    return Options(recipe=recipe, host_address=arguments.host_address or "", zone=arguments.zone)


def usage_error(arguments: argparse.Namespace, reason: str, example: str | None = None) -> ComposeError:
    """Return the error for arguments that do not go together, or not with the file."""
    return ComposeError(reason, code="usage", place=Place(str(arguments.file)), example=example)


def all_options_of(arguments: argparse.Namespace, project: Project) -> Options:
    """Return all options for a project. Raises ComposeError when they do not go together."""
    options = options_of(arguments)
    recipe = options.recipe
    if arguments.podman and recipe is not Recipe.NETNS:
        raise usage_error(arguments, f"--podman is for recipe netns, and the recipe is {recipe.value}")
    if arguments.forward and recipe is Recipe.BESIDE:
        raise usage_error(arguments, "--forward is not for recipe beside, whose agents answer no lookups")
    if arguments.forward and recipe is Recipe.NETNS and agent_options.asks_itself(arguments.forward):
        reason = (
            "--forward: in the network of a service, that resolver asks the agent: the question would go in a circle"
        )
        raise usage_error(arguments, reason, "--forward 10.0.0.2")
    if arguments.registry_image and not arguments.with_registry:
        raise usage_error(arguments, "--registry-image is for --with-registry")
    if arguments.with_registry and REGISTRY_SERVICE in project.services:
        reason = (
            f"--with-registry: it has a service {REGISTRY_SERVICE} already, which the agents use without that option"
        )
        raise usage_error(arguments, reason)
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
