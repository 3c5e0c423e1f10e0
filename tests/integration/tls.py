"""Replicas with TLS, and what connects to them."""

from __future__ import annotations

import asyncio
import functools
import shutil
import ssl
from pathlib import Path
from typing import NamedTuple

import msgspec

from registry_core.replica_settings import ReplicaSettings
from registry_core.security.pem_paths import KeyPair
from registry_core.security.tls_settings import TlsSettings
from tests.certificates import Authority, Certificate, openssl
from tests.integration.replicas import READY


class TlsFiles(NamedTuple):
    """The files of a replica in a folder of the test, which may be replaced."""

    authority: Authority
    pair: KeyPair
    client_ca: Path

    def replace(self, certificate: Certificate) -> None:
        """Put another certificate in the place of the one in use, first itself and then its key."""
        for new, old in zip(certificate, self.pair.files, strict=True):
            fresh = Path(f"{old}.new")
            shutil.copy(new, fresh)
            fresh.replace(old)

    def settings(self, *, mutual: bool = False, required: bool = False) -> ReplicaSettings:
        """Return the settings of a replica with these files."""
        tls = TlsSettings(self.pair, str(self.client_ca) if mutual else "", required, "fleet.example")
        return msgspec.structs.replace(READY, tls=tls)

    def trusting(self, client: Certificate | None = None) -> ssl.SSLContext:
        """Return the context of a client, which may show a certificate."""
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        if client is not None:
            context.load_cert_chain(client.cert, client.key)
        return context


def tls_files(folder: Path, authority: Authority, names: tuple[str, ...] = ("IP:127.0.0.1",)) -> TlsFiles:
    """Return the files of a new certificate in `folder`."""
    pair = KeyPair(str(folder / "registry.pem"), str(folder / "registry.key"))
    client_ca = folder / "clients.pem"
    shutil.copy(authority.ca, client_ca)
    files = TlsFiles(authority, pair, client_ca)
    files.replace(authority.issue(*names))
    return files


async def s_client(port: int, *options: str | Path, given: str = "Q\n", until: str = "") -> str:
    """Return what `openssl s_client` prints."""
    running = functools.partial(
        openssl, "s_client", "-connect", f"127.0.0.1:{port}", *options, given=given, until=until
    )
    return await asyncio.to_thread(running)
