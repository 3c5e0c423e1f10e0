"""The tree of commands, and the way from the words of a command line to one of them.

A command is a module with `add_arguments` and `run`; its docstring and `EPILOG` are its page. Only the module of the
requested command is imported, so that `vertice agent` does not load the registry, and `vertice resolve` no server.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Final, NamedTuple, TypeAlias

from cli.exit_codes import EXIT_CODES
from cli.parser import CommandParser


class Command(NamedTuple):
    """A command: its name, its module, its one-line help."""

    name: str
    module: str
    summary: str

    def load(self) -> ModuleType:
        """Import and return its module."""
        return importlib.import_module(self.module)


class CommandGroup(NamedTuple):
    """A group of commands, such as `vertice compose`, with a page that lists them."""

    name: str
    summary: str
    commands: tuple[Command, ...]


CommandNode: TypeAlias = Command | CommandGroup


class LeafCommand(NamedTuple):
    """A command with the words that lead to it: `("compose", "inject")`."""

    words: tuple[str, ...]
    command: Command

    def parser(self) -> CommandParser:
        """Return its parser with all its arguments."""
        module = self.command.load()
        parser = CommandParser(
            " ".join(["vertice", *self.words]), module.__doc__ or "", getattr(module, "EPILOG", EXIT_CODES)
        )
        module.add_arguments(parser)
        parser.set_defaults(run=module.run)
        return parser


COMMANDS: Final[tuple[CommandNode, ...]] = (
    Command("dev", "cli.commands.dev", "try it: a registry, an agent and the services of a compose file, on loopback"),
    Command("registry", "cli.commands.registry", "run one registry replica"),
    Command("agent", "cli.commands.agent", "run the agent next to a service"),
    Command("status", "cli.commands.status", "show the deployment at a glance, and the agent on this machine"),
    Command("top", "cli.commands.top", "show lookups, writes, changes and errors as they happen"),
    Command("services", "cli.commands.services", "list the services that the agent knows, how they are, and where"),
    Command("resolve", "cli.commands.resolve", "print the address of a service"),
    Command("explain", "cli.commands.explain", "show why each instance of a service is or is not in the answers"),
    Command("usage", "cli.commands.usage", "show who uses which service, and whether one can be deleted"),
    Command("drain", "cli.commands.drain", "drain a service of this machine"),
    CommandGroup(
        "maintenance",
        "hold services of this machine out of use, or end that",
        (
            Command("on", "cli.commands.maintenance_on", "put services into maintenance: no answer names them"),
            Command("off", "cli.commands.maintenance_off", "let the checks decide again"),
            Command("status", "cli.commands.maintenance_status", "show what is held out of use"),
        ),
    ),
    Command("watch", "cli.commands.watch", "print changes as they happen"),
    CommandGroup(
        "guard",
        "show or release the guard against mass expiry",
        (
            Command("status", "cli.commands.guard_status", "show the state of every shard"),
            Command("release", "cli.commands.guard_release", "confirm that the silent instances are gone"),
        ),
    ),
    CommandGroup(
        "snapshot",
        "save all registrations to a file, or restore them",
        (
            Command("save", "cli.commands.snapshot_save", "write all registrations of a registry to a file"),
            Command("restore", "cli.commands.snapshot_restore", "register what a file has and the registry lacks"),
        ),
    ),
    CommandGroup(
        "keys",
        "issue, rotate and revoke the keys with which requests are signed",
        (
            Command("issue", "cli.commands.keys_issue", "issue a key to a service or role"),
            Command("rotate", "cli.commands.keys_rotate", "issue a new key, and let the present one end"),
            Command("list", "cli.commands.keys_list", "list the keys, without their secrets"),
            Command("revoke", "cli.commands.keys_revoke", "end a key at once"),
        ),
    ),
    CommandGroup(
        "ca",
        "run the fleet's certificate authority: services get certificates from it",
        (
            Command("init", "cli.commands.ca_init", "make the authority: a root, and an intermediate for the replicas"),
            Command("intermediate", "cli.commands.ca_intermediate", "make a new intermediate under the present root"),
            Command("issue", "cli.commands.ca_issue", "issue a certificate for a replica, balancer or operator"),
            Command("rotate", "cli.commands.ca_rotate", "replace the root, in three steps without a gap"),
            Command("status", "cli.commands.ca_status", "show what signs, what is trusted, and when it ends"),
            Command("deny", "cli.commands.ca_deny", "deny the certificates of a service, or one certificate"),
            Command("allow", "cli.commands.ca_allow", "withdraw a denial"),
            Command("denied", "cli.commands.ca_denied", "list what is denied"),
        ),
    ),
    CommandGroup(
        "audit",
        "read and verify the audit log of a registry",
        (
            Command("show", "cli.commands.audit_show", "show who wrote what, and who was refused"),
            Command("verify", "cli.commands.audit_verify", "verify that nothing was altered, removed or moved"),
            Command("prove", "cli.commands.audit_prove", "write a proof that a line is in the log"),
            Command("consistency", "cli.commands.audit_consistency", "check that a log continues an earlier head"),
        ),
    ),
    CommandGroup(
        "compose",
        "audit a compose file, and prepare it for Vértice",
        (
            Command(
                "audit",
                "cli.commands.compose_audit",
                "report how the services find each other, and what is wrong",
            ),
            Command(
                "inject",
                "cli.commands.compose_inject",
                "add an agent to every service, beside the file or in it",
            ),
            Command("eject", "cli.commands.compose_eject", "remove the agents from a file, byte for byte"),
            Command("rewrite", "cli.commands.compose_rewrite", "replace hard-coded addresses by discovered names"),
        ),
    ),
    CommandGroup(
        "migrate",
        "migrate a fleet in waves: the plan and the progress",
        (
            Command("plan", "cli.commands.migrate_plan", "order the services of a compose file in waves"),
            Command("status", "cli.commands.migrate_status", "show what is registered, and which addresses may go"),
        ),
    ),
    Command("log-level", "cli.commands.log_level", "show or change at which levels an agent or a registry logs"),
    Command("slo", "cli.commands.slo", "compare each service level with what was measured"),
    Command("doctor", "cli.commands.doctor", "find what is wrong on this machine, with the cure"),
)


def leaves(nodes: Sequence[CommandNode] = COMMANDS, above: tuple[str, ...] = ()) -> Iterator[LeafCommand]:
    """Return every command of the tree, in its order."""
    for node in nodes:
        match node:
            case Command():
                yield LeafCommand((*above, node.name), node)
            case CommandGroup():
                yield from leaves(node.commands, (*above, node.name))
