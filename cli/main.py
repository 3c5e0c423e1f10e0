"""The `vertice` command: finds the requested command, runs it, and turns what it raises into an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from cli.command_tree import COMMANDS, CommandGroup, CommandNode, LeafCommand
from cli.exit_codes import EXIT_CODES, INTERRUPTED, OK, USAGE
from cli.parser import CommandParser, WrongUsage, did_you_mean
from cli.streams import guarded
from registry_core.errors import SettingsError
from registry_core.installed import VERSION as INSTALLED

DESCRIPTION: Final = "Service discovery for plain containers, over DNS and over localhost HTTP."
HELP: Final = ("-h", "--help")
VERSION: Final = ("-V", "--version")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return the exit code.

    Without `argv` this is the program: it runs what this process was started with, on guarded streams.
    """
    return guarded(lambda: _main(sys.argv[1:])) if argv is None else _main(argv)


def _main(argv: Sequence[str]) -> int:
    words = list(argv)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    try:
        leaf, rest = find(words)
        parser = leaf.parser()
        arguments = parser.read(rest)
        try:
            code: int = arguments.run(arguments)
        except WrongUsage as error:
            parser.error(error.message)
    except SettingsError as error:
        print(f"vertice: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def find(words: Sequence[str]) -> tuple[LeafCommand, list[str]]:
    """Return the command that `words` begin with, and the words behind it.

    Ends the program after `--help` and `--version`, and when there is no such command.
    """
    nodes: Sequence[CommandNode] = COMMANDS
    path: tuple[str, ...] = ()
    group: CommandGroup | None = None
    for at, word in enumerate(words):
        if word in HELP:
            print(_page(path, group).format_help(), end="")
            raise SystemExit(OK)
        if word in VERSION and group is None:
            print(f"vertice {INSTALLED}")
            raise SystemExit(OK)
        node = next((node for node in nodes if node.name == word), None)
        if node is None:
            _refuse(word, path, group, nodes)
        path = (*path, node.name)
        if not isinstance(node, CommandGroup):
            return LeafCommand(path, node), list(words[at + 1 :])
        group, nodes = node, node.commands
    return _refuse(None, path, group, nodes)


def _refuse(
    word: str | None, path: tuple[str, ...], group: CommandGroup | None, nodes: Sequence[CommandNode]
) -> NoReturn:
    page = _page(path, group)
    if word is None:
        page.error(f"a command is missing: {', '.join(node.name for node in nodes)}")
    if word.startswith("-"):
        near = did_you_mean(word.partition("=")[0], (*HELP, *(() if group else VERSION)))
        page.error(f"unknown option {word.partition('=')[0]!r} before the command{near}; options follow it")
    page.error(f"there is no command {word!r}{did_you_mean(word, [node.name for node in nodes])}")


def _page(path: tuple[str, ...], group: CommandGroup | None) -> CommandParser:
    """Return the page that lists the commands of a group; all commands when it is None."""
    prog = " ".join(["vertice", *path])
    description = DESCRIPTION if group is None else f"{group.summary[0].upper()}{group.summary[1:]}."
    parser = CommandParser(prog, description, f"{EXIT_CODES}\n\n`{prog} COMMAND --help` describes each command.")
    if group is None:
        parser.add_argument(*VERSION, action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=argparse.ArgumentParser)
    for node in COMMANDS if group is None else group.commands:
        commands.add_parser(node.name, help=node.summary)
    return parser


if __name__ == "__main__":
    sys.exit(main())
