"""The options and the shapes of answers that the commands of `vertice ca` share."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cli.exit_codes import FAILED, OK, USAGE, exit_codes
from cli.options import JSON
from cli.parser import WrongUsage, file_path, value
from registry_core.causes import cause_of
from registry_core.errors import CallerError, SettingsError
from registry_core.security.authority.lifetimes import MAX_DAYS
from registry_core.settings import integer

DEFAULT_FOLDER: Final = "vertice-ca"
MIN_PASSPHRASE: Final = 8
_MOST_PASSPHRASE: Final = 1000
FOLDER_CODES: Final = exit_codes(
    failed="failed: a file could not be read or written, or it is not the time for this step",
    usage="wrong usage, a wrong passphrase, or a folder that holds no authority",
)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add `--dir`."""
    parser.add_argument(
        "--dir",
        metavar="FOLDER",
        type=file_path,
        default=Path(DEFAULT_FOLDER),
        help=f"the folder of the authority, on a machine that is no replica (default: {DEFAULT_FOLDER})",
    )


def add_passphrase(parser: argparse.ArgumentParser) -> None:
    """Add `--passphrase-file`."""
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        type=file_path,
        help="the file with the passphrase of the root key (default: it is asked for at the terminal)",
    )


def add_days(parser: argparse.ArgumentParser, name: str, what: str, default: int) -> None:
    """Add an option for a number of days."""
    parser.add_argument(
        name,
        metavar="DAYS",
        type=value(integer(1, MAX_DAYS), str(default)),
        default=default,
        help=f"how long {what} is valid (default: {default})",
    )


def passphrase_of(arguments: argparse.Namespace, *, new: bool = False) -> bytes:
    """Return the passphrase: from its file, or from the terminal, where a new one is asked for twice.

    Raises WrongUsage when there is neither, SettingsError when the file cannot be read.
    """
    path: Path | None = arguments.passphrase_file
    if path is not None:
        try:
            with path.open("rb") as file:
                given = file.read(_MOST_PASSPHRASE + 1).strip()
        except OSError as error:
            raise SettingsError(f"--passphrase-file: {path}: {cause_of(error)}") from None
    else:
        given = _asked(new=new)
    if len(given) < MIN_PASSPHRASE or len(given) > _MOST_PASSPHRASE:
        raise WrongUsage(
            f"a passphrase has {MIN_PASSPHRASE} to {_MOST_PASSPHRASE} characters "
            "(example: the output of `openssl rand -hex 24`)"
        )
    return given


def _asked(*, new: bool) -> bytes:
    if not sys.stdin.isatty():
        raise WrongUsage("there is no terminal to ask for the passphrase of the root key; give --passphrase-file")
    given = getpass.getpass("passphrase of the root key: ")
    if new and getpass.getpass("once more: ") != given:
        raise WrongUsage("the two passphrases differ")
    return given.encode()


def carried_out(work: Callable[[], int]) -> int:
    """Return the exit code of `work` in a folder; what it raises becomes one line on stderr."""
    try:
        # The other commands do without this package.
        from cli.ca.authority_folder import NoFolder, UnusableFolder  # noqa: PLC0415 - it loads cryptography
    except ModuleNotFoundError as error:
        print(
            f"vertice: this needs the Python package {error.name}, which is not installed: install Vértice with its "
            "extra `registry`, or pip install 'cryptography>=45'",
            file=sys.stderr,
        )
        return FAILED
    try:
        return work()
    except WrongUsage:
        raise
    except CallerError as error:
        print(f"vertice: {error.message}", file=sys.stderr)
        return USAGE if isinstance(error, NoFolder | UnusableFolder) else FAILED
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        print(f"vertice: {name}{cause_of(error)}", file=sys.stderr)
        return FAILED


def print_files(
    arguments: argparse.Namespace, done: str, files: Mapping[str, Path], after: str = "", **more: str
) -> int:
    """Print what was done, and which files go where; return the exit code. `files` are named by their destinations."""
    shown = {name: shown_path(path) for name, path in files.items()}
    if arguments.output == JSON:
        print(json.dumps({**more, **shown}))
        return OK
    print(f"{done}; to every replica, which reads them by itself:")
    for name in ("cert", "key"):
        print(f"  {shown[name]}")
    if "trust" in shown:
        print(f"to verifiers without an agent: {shown['trust']}")
    if after:
        print(after)
    return OK


def shown_path(path: Path) -> str:
    """Return a path as it is shown: absolute, since files are copied from it."""
    return os.fspath(path.absolute())
