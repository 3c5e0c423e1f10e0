"""The `vertice` command: its subcommands and the meaning of its exit codes.

Each subcommand's module is imported only when it is requested, so that `vertice agent` does not load
the registry, and `vertice resolve` does not load a server.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from cli.streams import guarded
from registry_core.errors import SettingsError

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
INTERRUPTED: Final = 130

EXIT_CODES: Final = """exit codes:
  0    done
  1    failed: a port is taken, or nothing answers at the address
  2    wrong usage, or a wrong or unknown setting
  3    no such service
  130  interrupted by Ctrl-C"""


class Command(NamedTuple):
    """A subcommand: its name, its module (with `add_arguments` and `run`), its one-line help."""

    name: str
    module: str
    summary: str


COMMANDS: Final = (
    Command("dev", "cli.commands.dev", "try it: a registry, an agent and the services of a compose file, on loopback"),
    Command("registry", "cli.commands.registry", "run one registry replica"),
    Command("agent", "cli.commands.agent", "run the agent next to a service"),
    Command("services", "cli.commands.services", "list the services that the agent knows"),
    Command("resolve", "cli.commands.resolve", "print the address of a service"),
    Command("explain", "cli.commands.explain", "show why each instance of a service is or is not in the answers"),
    Command("drain", "cli.commands.drain", "drain a service of this machine"),
    Command("watch", "cli.commands.watch", "print changes as they happen"),
    Command("guard", "cli.commands.guard", "show or release the guard against mass expiry"),
    Command("snapshot", "cli.commands.snapshot", "save all registrations to a file, or restore them"),
    Command("compose", "cli.commands.compose", "audit a compose file, and prepare it for Vértice"),
    Command("migrate", "cli.commands.migrate", "migrate a fleet in waves: the plan and the progress"),
    Command("doctor", "cli.commands.doctor", "find what is wrong on this machine, with the cure"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return the exit code.

    Without `argv` this is the program: it runs what this process was started with, on guarded streams.
    """
    return guarded(lambda: _main(sys.argv[1:])) if argv is None else _main(argv)


def _main(argv: Sequence[str]) -> int:
    words = list(argv)
    parser = argparse.ArgumentParser(
        prog="vertice",
        description="Service discovery for plain containers, over DNS and over localhost HTTP.",
        epilog=EXIT_CODES + "\n\n`vertice COMMAND --help` describes each command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        # Only the requested command's module is imported, for its arguments.
        if words and words[0] == command.name:
            module = importlib.import_module(command.module)
            subparser = subparsers.add_parser(
                command.name,
                help=command.summary,
                description=module.__doc__,
                epilog=getattr(module, "EPILOG", EXIT_CODES),
                formatter_class=argparse.RawDescriptionHelpFormatter,
            )
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
        else:
            subparsers.add_parser(command.name, help=command.summary)
    arguments = parser.parse_args(words)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except SettingsError as error:
        print(f"vertice: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `vertice watch | head`: the reader has what it wanted. Discard the rest of our buffer, so that
        # the interpreter does not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


if __name__ == "__main__":
    sys.exit(main())
