"""Parses the words behind a command: argparse, with one shape for every error and no abbreviated options.

An error is one line on stderr that names the command, the option and the nearest spelling, and ends the program with
exit code 2. Options may stand before, between and behind the other words.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from cli.exit_codes import USAGE
from cli.terminal import printable
from registry_core.errors import CallerError
from registry_core.settings import shown

T = TypeVar("T")
_NEGATIVE: Final = re.compile(r"-\d+(\.\d*)?|-\.\d+")
_CUTOFF: Final = 0.65
# What argparse says, and what is printed instead.
_WORDINGS: Final = tuple(
    (re.compile(f"^{pattern}$"), text)
    for pattern, text in (
        (r"the following arguments are required: (.+)", r"\1 is missing"),
        (r"argument (.+?): expected (?:one argument|at least one argument|\d+ arguments)", r"\1 needs a value"),
        (r"argument (.+?): ignored explicit argument (.+)", r"\1 takes no value, but \2 was given"),
        (r"argument (.+?): not allowed with argument (.+)", r"\1 cannot be combined with \2"),
        (r"one of the arguments (.+) is required", r"one of \1 is missing"),
        (r"argument (.+)", r"\1"),
    )
)


class WrongUsage(CallerError):
    """Raised by a command when its arguments do not go together; its text is a clause."""


class CommandParser(argparse.ArgumentParser):
    """The parser of one command."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        # Each raises WrongUsage for arguments that do not go together.
        self.checks: list[Callable[[argparse.Namespace], None]] = []

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Return the arguments in `words`. Ends the program when they are wrong, or after `--help`."""
        self._check_options(words)
        # `--` ends the options; argparse understands it only where nothing is intermixed.
        parse = self.parse_known_args if "--" in words else self.parse_known_intermixed_args
        arguments, extra = parse(list(words))
        if extra:
            self.error(f"unexpected argument {extra[0]!r}")
        try:
            for check in self.checks:
                check(arguments)
        except WrongUsage as error:
            self.error(error.message)
        return arguments

    def error(self, message: str) -> NoReturn:
        """Print one line and end the program."""
        for pattern, text in _WORDINGS:
            message, count = pattern.subn(text, message, count=1)
            if count:
                break
        line = f"vertice: {self.prog.removeprefix('vertice').strip()}: {message}".replace("vertice: : ", "vertice: ")
        print(printable(f"{line}; see `{self.prog} --help`", most=1000), file=sys.stderr)
        raise SystemExit(USAGE)

    def _check_options(self, words: Sequence[str]) -> None:
        """End the program for an unknown option: argparse would report what is missing first."""
        for word in words:
            if word == "--":
                return
            option = word.partition("=")[0]
            if not word.startswith("-") or word == "-" or " " in word or _NEGATIVE.fullmatch(word):
                continue
            known = self._option_string_actions
            if option in known or (option[:2] in known and f"-{option}" not in known):
                continue
            near = [f"-{option}"] if f"-{option}" in known else self._shown_options()
            self.error(f"unknown option {option!r}{did_you_mean(option, near)}")

    def _shown_options(self) -> list[str]:
        actions = self._option_string_actions.items()
        return [o for o, action in actions if action.help is not argparse.SUPPRESS and o.startswith("--")]

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Refuse a value that is not among the choices of `action`."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            said = f"{value!r} is not one of {', '.join(choices)}{did_you_mean(str(value), choices)}"
            raise argparse.ArgumentError(action, said)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint with the word that was likely meant, or an empty text."""
    names = {name.lstrip("-"): name for name in known}
    letters = word.lstrip("-").lower()
    begins = [name for name in names if len(letters) > 1 and name.startswith(letters)]
    near = begins[:1] or difflib.get_close_matches(letters, names, n=1, cutoff=_CUTOFF)
    return f" (did you mean {names[near[0]]}?)" if near else ""


def value(read: Callable[[str], T], example: str = "") -> Callable[[str], T]:
    """Return a reader of settings as a type for argparse; `example` is shown to those whose value it refuses."""
    hint = f" (example: {example})" if example else ""

    def convert(given: str) -> T:
        try:
            return read(given)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{shown(given)} cannot be used: {error}{hint}") from None

    return convert


def file_path(given: str) -> Path:
    """Read the path of a file, as a type for argparse."""
    if not given or "\0" in given:
        raise argparse.ArgumentTypeError("the name of a file is empty" if not given else "a name contains a NUL")
    return Path(given)


def plain_text(given: str) -> str:
    """Read a text that is not empty, as a type for argparse. Only names of files may be other than UTF-8."""
    if not given.strip():
        raise argparse.ArgumentTypeError("it is empty")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{given!r} is not UTF-8") from None
    return given


def service(given: str) -> str:
    """Read the name of a service, which is judged by the agent or registry that is asked."""
    if "/" in given:
        raise argparse.ArgumentTypeError(f"{given!r} has a '/', which no service name has")
    return plain_text(given)


def service_instance(given: str) -> tuple[str, str]:
    """Read `SERVICE` or `SERVICE/INSTANCE`; the instance is empty when none is named.

    An empty part is refused: in a script it is a variable without a value, and would mean all services or instances.
    """
    name, slash, instance = plain_text(given).partition("/")
    if not name.strip() or (slash and not instance.strip()):
        raise argparse.ArgumentTypeError(f"{given!r} lacks the {'instance' if name.strip() else 'service'}")
    return name, instance
