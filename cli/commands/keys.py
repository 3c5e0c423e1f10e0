"""The shared parts of `vertice keys`: the file of keys, who a key is for, and how errors are told."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.files import replace_file
from cli.compose.file_replacement import OriginalFile, held, replace
from cli.exit_codes import FAILED, NOT_FOUND, USAGE
from cli.options import JSON, add_output
from cli.parser import CommandParser, WrongUsage, file_path, plain_text, value
from registry_core.causes import cause_of
from registry_core.errors import CallerError, NotFound
from registry_core.security.access_settings import KEYS_FILE
from registry_core.security.identities import Role
from registry_core.security.issued_keys import (
    ISSUED_PREFIX,
    MAX_DAYS,
    MAX_FILE_BYTES,
    ROLES,
    IssuedKey,
    UnusableSecrets,
    key_file,
    read_key_file,
)
from registry_core.security.signing_keys import SigningKey
from registry_core.settings import integer

# For its owner alone: a reader can sign as everybody in it.
OWNER_ALONE: Final = 0o600


class UnusableKeyFile(CallerError):
    """Raised when the file of keys cannot be used; its text is one line."""


class OpenedKeyFile(msgspec.Struct, frozen=True):
    """A file of keys as it was read."""

    original: OriginalFile
    keys: tuple[IssuedKey, ...]

    def write(self, keys: tuple[IssuedKey, ...]) -> None:
        """Replace its keys. Raises OSError, and CallerError when somebody else has changed it meanwhile."""
        replace(self.original, key_file(keys))


def add_file(parser: argparse.ArgumentParser) -> None:
    """Add `--file`."""
    parser.add_argument("--file", metavar="FILE", type=file_path, help=f"the file of keys (default: {KEYS_FILE.name})")


def add_holder(parser: CommandParser) -> None:
    """Add `--service` and `--role`, of which a command needs one."""
    holder = parser.add_mutually_exclusive_group(required=True)
    holder.add_argument("--service", metavar="NAME", type=plain_text, help="a key of this service, for itself")
    holder.add_argument(
        "--role",
        choices=[role.value for role in ROLES if role is not Role.SERVICE],
        metavar="ROLE",
        help="a key of this role: reader, operator, replica, follower",
    )


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add `--to` and `--output`."""
    parser.add_argument(
        "--to", metavar="FILE", type=file_path, help="write the key to this file, for its owner alone, not to stdout"
    )
    add_output(parser)


def add_days(parser: CommandParser, name: str, meaning: str, default: int | None) -> None:
    """Add an option that takes a number of days."""
    parser.add_argument(name, metavar="DAYS", type=value(integer(0, MAX_DAYS), "30"), default=default, help=meaning)


def holder_of(arguments: argparse.Namespace) -> tuple[Role, str]:
    """Return the role and the service that a key is for."""
    return (Role.SERVICE, arguments.service) if arguments.service else (Role(arguments.role), "")


def opened(arguments: argparse.Namespace, environment: Mapping[str, str], *, may_lack: bool = False) -> OpenedKeyFile:
    """Return the file of keys. Raises CallerError and OSError; `may_lack`: it is empty when it does not exist."""
    path: Path | None = arguments.file
    if path is None and environment.get(KEYS_FILE.name, "").strip():
        path = Path(environment[KEYS_FILE.name].strip())
    if path is None:
        raise WrongUsage(f"--file or {KEYS_FILE.name} says which file of keys")
    original = held(path, MAX_FILE_BYTES)
    if original.data is None:
        if not may_lack:
            raise UnusableKeyFile(f"{path}: there is no such file; `vertice keys issue` makes it")
        return OpenedKeyFile(msgspec.structs.replace(original, mode=OWNER_ALONE), ())
    if original.mode & (stat.S_IRWXG | stat.S_IRWXO):
        print(f"vertice: {path}: others can read it; `chmod 600 {path}` ends that", file=sys.stderr)
    try:
        return OpenedKeyFile(original, read_key_file(original.data))
    except UnusableSecrets as error:
        raise UnusableKeyFile(f"{path}: {error}") from None


def new_key() -> SigningKey:
    """Return a new key. Its id is random, and says nothing of its secret."""
    return SigningKey(f"{ISSUED_PREFIX}{secrets.token_hex(6)}", secrets.token_urlsafe(32))


def hand_over(arguments: argparse.Namespace, key: SigningKey, about: str, **more: object) -> None:
    """Give a key to the user: on stdout, or in a file for its owner alone. Raises OSError.

    `about` is a sentence for people, and `more` what the JSON has beside the key.
    """

    def prepare(descriptor: int) -> None:
        os.fchmod(descriptor, OWNER_ALONE)

    if arguments.to is not None:
        replace_file(arguments.to, [f"{key.text}\n".encode()], prepare=prepare)
    if arguments.output == JSON:
        where = {"key": key.text} if arguments.to is None else {"file": str(arguments.to)}
        print(json.dumps({"id": key.id, **more, **where}))
        return
    if arguments.to is None:
        print(key.text)
    print(about, file=sys.stderr)


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class Failure:
    """What went wrong in a `with`, as an exit code; None when nothing did."""

    code: int | None = None


@contextlib.contextmanager
def told() -> Iterator[Failure]:
    """Tell an error in one line."""
    failure = Failure()
    try:
        yield failure
    except CallerError as error:
        print(f"vertice: keys: {error.message}", file=sys.stderr)
        failure.code = NOT_FOUND if isinstance(error, NotFound) else USAGE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"vertice: keys: {where}{cause_of(error)}", file=sys.stderr)
        failure.code = FAILED


def row_of(key: IssuedKey, at: datetime) -> dict[str, Any]:
    """Return a key as `list` shows it: without its secret."""
    return {
        "id": key.id,
        "holder": key.holder,
        "valid": key.is_valid(at),
        "issued": key.issued.isoformat(),
        "expires": None if key.expires is None else key.expires.isoformat(),
    }
