"""The folder of a certificate authority: reads and writes it, and decides nothing about certificates.

    ca.json                   what the authority is, and where a rotation stands
    roots/1.crt, roots/1.key  a root and its encrypted key: they stay here, off the replicas
    replicas/authority.crt    for every replica (REGISTRY_CA_CERT): the intermediate, and the roots to trust
    replicas/authority.key    for every replica (REGISTRY_CA_KEY)
    trust.crt                 for those who verify certificates: the roots

Every file is replaced as a whole. `ca.json` is written last: a command that breaks off can be repeated. Blocks.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography import x509

from agent.files import replace_file
from registry_core.causes import cause_of
from registry_core.errors import CallerError
from registry_core.security.authority.authority_files import (
    MAX_AUTHORITY_BYTES,
    AuthorityChain,
    UnusableAuthority,
    key_pem,
    read_certificates,
    read_chain,
    read_key,
)
from registry_core.security.authority.certificates import Domain, Signer, pem_of
from registry_core.security.authority.rotation import AuthorityState

STATE: Final = "ca.json"
READABLE: Final = 0o644
_DECODE: Final = msgspec.json.Decoder(AuthorityState).decode


class NoFolder(CallerError):
    """Raised when a folder holds no authority, or one already. Its text names the folder."""


class UnusableFolder(CallerError):
    """Raised when a file of the folder cannot be used. Its text names the file."""


class ReplicaFiles(NamedTuple):
    """The files for replicas."""

    cert: Path
    key: Path


class AuthorityFolder:
    """One such folder. Its methods raise OSError, NoFolder and UnusableFolder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replicas = ReplicaFiles(path / "replicas" / "authority.crt", path / "replicas" / "authority.key")
        self.trust = path / "trust.crt"

    def create(self) -> None:
        """Create the folder, for its owner alone. Raises NoFolder when it holds an authority."""
        if (self.path / STATE).exists():
            raise NoFolder(f"{self.path} holds an authority already; `vertice ca rotate announce` makes its next root")
        for folder in (self.path, self.path / "roots", self.path / "replicas"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def state(self) -> AuthorityState:
        """Return what the folder records."""
        try:
            return _DECODE(_content(self.path / STATE))
        except FileNotFoundError:
            raise NoFolder(f"{self.path} holds no authority: `vertice ca init --dir {self.path}` makes one") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise UnusableFolder(f"{self.path / STATE} cannot be read: it is damaged, or of a later release") from None

    def root(self, number: int) -> x509.Certificate:
        """Return a root."""
        path = self._root(number, "crt")
        try:
            return read_certificates(_content(path))[0]
        except UnusableAuthority as error:
            raise UnusableFolder(f"{path}: {error.message}") from None

    def root_signer(self, number: int, passphrase: bytes) -> Signer:
        """Return a root and its key. Raises UnusableFolder also when the passphrase is wrong."""
        certificate, path = self.root(number), self._root(number, "key")
        try:
            return Signer(certificate, read_key(_content(path), certificate, passphrase))
        except UnusableAuthority as error:
            raise UnusableFolder(f"{path}: {error.message}") from None

    def chain(self) -> AuthorityChain:
        """Return what replicas have."""
        try:
            return read_chain(_content(self.replicas.cert))
        except UnusableAuthority as error:
            raise UnusableFolder(f"{self.replicas.cert}: {error.message}") from None

    def write_root(self, number: int, root: Signer, passphrase: bytes) -> None:
        """Write a root and its encrypted key."""
        _write(self._root(number, "key"), key_pem(root.key, passphrase))
        _write(self._root(number, "crt"), pem_of([root.certificate]), READABLE)

    def write(self, state: AuthorityState, chain: AuthorityChain, intermediate: Signer | None = None) -> None:
        """Write the files for replicas and verifiers, and then the state. Without `intermediate` its key stays."""
        if intermediate is not None:
            _write(self.replicas.key, key_pem(intermediate.key))
        _write(self.replicas.cert, chain.pem, READABLE)
        _write(self.trust, chain.bundle, READABLE)
        _write(self.path / STATE, msgspec.json.format(msgspec.json.encode(state)) + b"\n")

    def _root(self, number: int, suffix: str) -> Path:
        return self.path / "roots" / f"{number}.{suffix}"


def domain_in(state: AuthorityState) -> Domain:
    """Return what an authority speaks for."""
    return Domain(state.trust_domain, state.zones)


def said_of(error: OSError, otherwise: Path) -> str:
    """Return why a file could not be read or written, with its name."""
    return f"{error.filename or otherwise}: {cause_of(error)}"


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_AUTHORITY_BYTES + 1)


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    replace_file(path, [data], prepare=lambda descriptor: os.fchmod(descriptor, mode))
