"""The audit log that the `vertice audit` commands read: a folder, or a running registry."""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec

from cli.client import HttpResponse, Unreachable, ask, registry_url, said_by, signer_in
from cli.options import add_registry
from cli.parser import WrongUsage, file_path, plain_text
from registry_core.api.audit_schemas import AuditConsistencyView, AuditEntriesView, AuditProofView
from registry_core.causes import cause_of
from registry_core.errors import SettingsError, VerticeError
from registry_core.security.audit.folder import (
    COUNTERSIGNED_FILE,
    NumberedLine,
    TreeFile,
    head_in,
    lines_from,
    segments_in,
)
from registry_core.security.audit.heads import BadHead, SignedHead, parse_head
from registry_core.security.audit.key import public_in
from registry_core.security.audit.merkle import Frontier, StoredHash
from registry_core.security.audit.notes import MAX_NOTE_BYTES, BadNote, VerifierKey, parse_key
from registry_core.security.audit.reading import consistency_in, frontier_at, inclusion_in
from registry_core.security.sending import RequestSigner

T = TypeVar("T")
PAGE: Final = 1_000
_ANSWER_S: Final = 30.0


class NoAuditLog(VerticeError):
    """Raised when there is no log to read, or it cannot be read; its text is one line."""


class AuditSource(Protocol):
    """A log. Each method raises NoAuditLog or Unreachable when it cannot tell."""

    name: str

    def head(self) -> SignedHead:
        """Return its newest head."""
        ...

    def countersigned(self) -> SignedHead | None:
        """Return its newest head that other replicas have signed as well."""
        ...

    def key(self) -> VerifierKey:
        """Return the key that the log itself gives as its own."""
        ...

    def start(self) -> tuple[int, Frontier]:
        """Return the number of the first line that is kept, and the frontier of those before it."""
        ...

    def lines(self, start: int) -> Iterator[NumberedLine]:
        """Yield the lines from a number on."""
        ...

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that a line is in the log of `size` lines."""
        ...

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return the proof that the log of the second size continues that of the first."""
        ...

    def stored(self) -> StoredHash | None:
        """Return what reads the stored hashes, where they can be had."""
        ...


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add what names a log: a folder, or `--registry`."""
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="FOLDER",
        type=file_path,
        help="the folder of a log, REGISTRY_AUDIT of its replica (default: a running registry is asked)",
    )
    add_registry(parser)


def source_of(arguments: argparse.Namespace, environment: Mapping[str, str]) -> AuditSource:
    """Return the log that the arguments name. Raises WrongUsage and SettingsError."""
    if arguments.folder is None:
        return RegistryAudit(registry_url(arguments, environment), signer_in(environment))
    if arguments.registry is not None:
        raise WrongUsage("FOLDER cannot be combined with --registry")
    if not arguments.folder.is_dir():
        raise SettingsError(f"{arguments.folder}: there is no such folder")
    return FolderAudit(arguments.folder)


class FolderAudit:
    """The log in a folder, which no registry need be using."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder
        self._tree: TreeFile | None = None

    def head(self) -> SignedHead:
        """Return its newest head."""
        with _reading(self._folder):
            found = head_in(self._folder)
        if found is None:
            raise NoAuditLog(f"{self._folder}: there is no audit log in it")
        return found

    def countersigned(self) -> SignedHead | None:
        """Return its newest head that other replicas have signed as well."""
        with _reading(self._folder):
            return head_in(self._folder, COUNTERSIGNED_FILE)

    def key(self) -> VerifierKey:
        """Return the public key beside the log."""
        with _reading(self._folder):
            return public_in(self._folder)

    def start(self) -> tuple[int, Frontier]:
        """Return the number of the first line that is kept, and the frontier of those before it."""
        with _reading(self._folder):
            segments = segments_in(self._folder)
            first = segments[0].first if segments else 0
            return first, Frontier(first, frontier_at(self._folder, first))

    def lines(self, start: int) -> Iterator[NumberedLine]:
        """Yield the lines from a number on."""
        with _reading(self._folder):
            yield from lines_from(self._folder, start)

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that a line is in the log of `size` lines."""
        with _reading(self._folder):
            return inclusion_in(self._folder, index, size)

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return the proof that the log of the second size continues that of the first."""
        with _reading(self._folder):
            return consistency_in(self._folder, first, second)

    def stored(self) -> StoredHash | None:
        """Return what reads the stored hashes."""
        if self._tree is None:
            with _reading(self._folder):
                self._tree = TreeFile(self._folder).__enter__()  # open until the command ends
        return self._tree.read


class RegistryAudit:
    """The log of a running registry."""

    def __init__(self, url: str, signer: RequestSigner) -> None:
        self.name = url
        self._signer = signer

    def head(self) -> SignedHead:
        """Return its newest head."""
        return self._head("/audit/head")

    def countersigned(self) -> SignedHead | None:
        """Return its newest head that other replicas have signed as well."""
        path = "/audit/head?countersigned=true"
        answer = ask("GET", self.name, path, signer=self._signer, timeout_s=_ANSWER_S)
        return None if answer.is_not_found else self._head(path)

    def key(self) -> VerifierKey:
        """Return the key that the registry gives as its log's."""
        answer = self._asked("/health", (200, 503))
        with said_by("a registry", self.name):
            key = answer.json()["components"]["audit"]["key"]
        try:
            return parse_key(str(key))
        except BadNote:
            raise NoAuditLog(f"{self.name} keeps no audit log") from None

    def start(self) -> tuple[int, Frontier]:
        """Return the number of the first line that is kept, and the frontier of those before it."""
        page = self._view("/audit/entries?from=0&count=1", AuditEntriesView)
        return page.first, Frontier(page.first, self._hashes(page.frontier))

    def lines(self, start: int) -> Iterator[NumberedLine]:
        """Yield the lines from a number on."""
        while True:
            query = urlencode({"from": start, "count": PAGE})
            page = self._view(f"/audit/entries?{query}", AuditEntriesView)
            if not page.lines:
                return
            yield from (NumberedLine(page.first + at, line.encode()) for at, line in enumerate(page.lines))
            start = page.first + len(page.lines)

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that a line is in the log of `size` lines."""
        query = urlencode({"index": index, "size": size})
        return self._hashes(self._view(f"/audit/proof?{query}", AuditProofView).hashes)

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """Return the proof that the log of the second size continues that of the first."""
        query = urlencode({"first": first, "second": second})
        return self._hashes(self._view(f"/audit/consistency?{query}", AuditConsistencyView).hashes)

    def stored(self) -> StoredHash | None:
        """Return None: a registry does not show them."""
        return None

    def _head(self, path: str) -> SignedHead:
        try:
            return parse_head(self._asked(path).text())
        except BadHead as error:
            raise Unreachable(f"the head that {self.name} shows is none: {error}") from None

    def _view(self, path: str, kind: type[T]) -> T:
        answer = self._asked(path)
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Unreachable(f"{self.name} answers, but is not a registry") from None

    def _asked(self, path: str, expected: tuple[int, ...] = (200,)) -> HttpResponse:
        answer = ask("GET", self.name, path, signer=self._signer, timeout_s=_ANSWER_S)
        if answer.status not in expected:
            raise NoAuditLog(answer.message)
        return answer

    def _hashes(self, texts: list[str]) -> tuple[bytes, ...]:
        try:
            return tuple(base64.b64decode(text, validate=True) for text in texts)
        except (binascii.Error, ValueError):
            raise Unreachable(f"{self.name} answers, but is not a registry") from None


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Raises NoAuditLog when the files cannot be read."""
    try:
        yield
    except OSError as error:
        raise NoAuditLog(f"{folder}: {cause_of(error)}") from None


def keys_in(arguments: argparse.Namespace) -> list[VerifierKey]:
    """Return the keys that were given: each is a verifier key, or the name of a file with one. Raises WrongUsage."""
    return [_key(given) for given in arguments.keys]


def _key(given: str) -> VerifierKey:
    example = "(example: vertice-audit/eu-1a+1b2c3d4e+AeY..., or a file with it)"
    try:
        if "+" in given:
            return parse_key(given)
        with Path(given).open("rb") as file:
            return parse_key(file.read(MAX_NOTE_BYTES).decode("ascii", "replace"))
    except OSError as error:
        raise WrongUsage(f"--trust: {given!r} cannot be used: {cause_of(error)} {example}") from None
    except ValueError:
        raise WrongUsage(f"--trust: {given!r} is not a public key {example}") from None


def read_head(path: Path) -> SignedHead:
    """Return the head in a file. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            return parse_head(file.read(MAX_NOTE_BYTES + 1).decode("utf-8", "replace"))
    except OSError as error:
        raise SettingsError(f"{path}: {cause_of(error)}") from None
    except BadHead as error:
        raise SettingsError(f"{path}: {error}") from None


def add_keys(parser: argparse.ArgumentParser) -> None:
    """Add `--trust`, which may be given several times."""
    parser.add_argument(
        "--trust",
        dest="keys",
        action="append",
        default=[],
        metavar="KEY",
        type=plain_text,
        help="the public key of the log, or of another replica that countersigns it: name+id+key, or a file with it",
    )


def log_key(source: AuditSource, origin: str, keys: Sequence[VerifierKey]) -> VerifierKey:
    """Return the key of the log `origin`: the given one, or else the one that the log itself gives, with a warning."""
    for key in keys:
        if key.name == origin:
            return key
    own = source.key()
    print(
        f"vertice: no --trust of {origin} was given: its own is used, which shows nothing if all was replaced",
        file=sys.stderr,
    )
    return own
