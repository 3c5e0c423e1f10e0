"""Audit a fleet's compose file, and prepare it for Vértice."""

from __future__ import annotations

import argparse
import importlib
from typing import Final, NamedTuple

from cli.main import EXIT_CODES


class Action(NamedTuple):
    """A subcommand for compose files: its name, its module (with `add_arguments` and `run`), its help."""

    name: str
    module: str
    summary: str


ACTIONS: Final = (
    Action("audit", "cli.commands.compose_audit", "report how the services find each other today, and what is wrong"),
    Action("inject", "cli.commands.compose_inject", "add an agent to every service, in an override file or in place"),
    Action("eject", "cli.commands.compose_eject", "remove the agents from a file, byte for byte"),
    Action("rewrite", "cli.commands.compose_rewrite", "replace hard-coded addresses by discovered names"),
)

EPILOG: Final = """examples:
  vertice compose audit compose.yml
  vertice compose inject compose.yml
  vertice compose rewrite compose.yml

exit codes:
  0    done, or nothing to do
  1    something is wrong, or was left out
  2    wrong usage, or the files cannot be used

`vertice compose ACTION --help` describes each action and its exit codes."""


def add_arguments(parser: argparse.ArgumentParser, actions: tuple[Action, ...] = ACTIONS) -> None:
    """Add the actions with their arguments."""
    subparsers = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    for action in actions:
        module = importlib.import_module(action.module)
        subparser = subparsers.add_parser(
            action.name,
            help=action.summary,
            description=module.__doc__,
            epilog=getattr(module, "EPILOG", EXIT_CODES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(act=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Run the requested action and return its exit code."""
    code: int = arguments.act(arguments)
    return code
