"""The files of certificates in AGENT_CERT_DIR, which other programs read at any moment. Everything here blocks.

    billing.crt     -> billing.d/billing.crt      the certificate and those of its authorities
    billing.key     -> billing.d/billing.key      its key
    billing.pem     -> billing.d/billing.pem      key and certificates in one file
    billing.ca.crt  -> billing.d/billing.ca.crt   the roots to trust
    billing.d       -> .billing.<version>         the version that counts

A version is written as a whole and never changes; then `billing.d` is switched, which is one rename. A reader that
resolves `billing.d` once has files that belong together, since the version before stays until the next one. No service
has a dot in its name, so no two services share a name here.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from agent.own_files import NotOurs, folder_problem

# A reader takes less than this from the first file that it opens to the last one.
READ_WITHIN_S: Final = 60.0
# Beside the present version and the one before, if they follow each other faster than that.
MOST_VERSIONS: Final = 8
MAX_STORED_BYTES: Final = 256 * 1024
CURRENT: Final = ".d"
_FOLDER_MODE: Final = 0o755
_READABLE: Final = 0o644


class FileAccess(msgspec.Struct, frozen=True):
    """The readers of keys: the files' owner, as `user`, `user:group` or numbers ("": the agent), and their mode."""

    owner: str = ""
    mode: int = 0o600


class StoredFiles(NamedTuple):
    """The content of the files of one service."""

    chain: bytes
    key: bytes
    bundle: bytes


class CertificateFiles:
    """The folder. Its methods raise OSError, with the reason and the cure."""

    def __init__(self, path: Path, access: FileAccess) -> None:
        self.path = path
        self._access = access

    def path_of(self, service: str) -> Path:
        """Return the path of a service's certificate."""
        return self.path / f"{service}.crt"

    def read(self, service: str) -> StoredFiles | None:
        """Return what is held for a service; None when there is nothing, or not all of it."""
        try:
            self._prepare()
            folder = (self.path / f"{service}{CURRENT}").resolve(strict=True)
            if folder.parent != self.path.resolve():
                return None
            return StoredFiles(*(_content(folder / f"{service}.{kind}") for kind in ("crt", "key", "ca.crt")))
        except FileNotFoundError:
            return None

    def write(self, service: str, files: StoredFiles) -> None:
        """Make these files the ones that count. When this returns, they are on disk."""
        self._prepare()
        version = Path(tempfile.mkdtemp(prefix=f".{service}.", dir=self.path))
        try:
            self._fill(version, service, files)
            link = self.path / f"{service}{CURRENT}"
            before = link.readlink().name if link.is_symlink() else ""
            _point(link, version.name)
            for kind in ("crt", "key", "pem", "ca.crt"):
                name = f"{service}.{kind}"
                if not _leads_to(self.path / name, f"{service}{CURRENT}/{name}"):
                    _point(self.path / name, f"{service}{CURRENT}/{name}")
            _sync(self.path)
        except BaseException:
            shutil.rmtree(version, ignore_errors=True)
            raise
        self._clear(service, keep={version.name, before})

    def _prepare(self) -> None:
        self.path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        problem = folder_problem(self.path.stat(), os.geteuid(), self.path)
        if problem:
            raise NotOurs(problem)

    def _fill(self, version: Path, service: str, files: StoredFiles) -> None:
        owner = owner_of(self._access.owner)
        contents = {
            "crt": (files.chain, _READABLE),
            "key": (files.key, self._access.mode),
            "pem": (files.key + files.chain, self._access.mode),
            "ca.crt": (files.bundle, _READABLE),
        }
        for kind, (data, mode) in contents.items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(version / f"{service}.{kind}", flags, 0o600), "wb") as file:
                if owner is not None:
                    os.fchown(file.fileno(), *owner)
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        version.chmod(_FOLDER_MODE)
        _sync(version)

    def _clear(self, service: str, keep: set[str]) -> None:
        """Remove versions that no reader has any more. What cannot be removed stays, until the next time."""
        old = [(version.lstat().st_mtime, version) for version in self.path.glob(f".{service}.*")]
        others = sorted((at, version) for at, version in old if version.name not in keep)
        # Versions may follow each other within moments, while an authority changes.
        gone = [version for at, version in others if time.time() - at > READ_WITHIN_S]
        for version in {*gone, *(version for _, version in others[:-MOST_VERSIONS])}:
            with contextlib.suppress(OSError):
                shutil.rmtree(version) if version.is_dir() and not version.is_symlink() else version.unlink()


def owner_of(text: str) -> tuple[int, int] | None:
    """Return the numbers of `user`, `user:group` or `1000:1000`, -1 for a group that is not given; None for "".

    Raises OSError when this machine has no such user or group.
    """
    user, colon, group = text.strip().partition(":")
    if not user and not group:
        return None
    try:
        uid = -1 if not user else int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
        gid = -1 if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise OSError(None, f"this machine has no user or group {text!r} (AGENT_CERT_OWNER)") from None
    if not colon and user and not user.isdigit():
        gid = pwd.getpwnam(user).pw_gid
    return uid, gid


def _content(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(MAX_STORED_BYTES)


def _leads_to(link: Path, target: str) -> bool:
    return link.is_symlink() and link.readlink() == Path(target)


def _point(link: Path, target: str) -> None:
    """Let `link` lead to `target`, in one step whatever it was before."""
    fresh = link.with_name(f".{link.name}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(target)
    fresh.replace(link)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
