"""Certificates for tests: an authority that signs any certificate, made with the openssl program."""

from __future__ import annotations

import contextlib
import os
import subprocess
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.programs import find

_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificate(NamedTuple):
    """A certificate and its key, each a PEM file."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority; clients trust the file `ca`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._serial = zlib.crc32(folder.name.encode()) << 8
        self.ca, self._key = folder / "ca.pem", folder / "ca.key"
        # Python 3.13 rejects an authority without keyUsage ...
        may = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-days", "2", "-subj", f"/CN={folder.name}")
        _openssl("req", "-x509", *_KEY, "-keyout", self._key, "-out", self.ca, *may)

    def issue(self, *names: str, expired: bool = False, days: int = 2) -> Certificate:
        """Return a certificate for `names`, each like `IP:127.0.0.1`, `DNS:localhost` or `URI:spiffe://...`."""
        number = len(list(self._folder.glob("*.crt")))
        request, extension = self._folder / f"{number}.csr", self._folder / f"{number}.ext"
        made = Certificate(self._folder / f"{number}.crt", self._folder / f"{number}.key")
        # ... and a certificate without its authority's key id.
        extension.write_text(f"subjectAltName={','.join(names)}\nauthorityKeyIdentifier=keyid\n")
        _openssl("req", "-new", *_KEY, "-keyout", made.key, "-out", request, "-subj", "/CN=test")
        signed = (
            "-CA",
            self.ca,
            "-CAkey",
            self._key,
            "-set_serial",
            str(self._serial + number + 1),
            "-extfile",
            extension,
        )
        _openssl("x509", "-req", "-in", request, *signed, "-days", str(days), "-out", made.cert)
        if expired:
            self._expire(made.cert)
        return made

    def _expire(self, cert: Path) -> None:
        """Sign a certificate anew so that it ended yesterday, which newer openssl programs refuse to do."""
        issued = x509.load_pem_x509_certificate(cert.read_bytes())
        key = load_pem_private_key(self._key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            issued.issuer,
            issued.subject,
            issued.public_key(),
            issued.serial_number,
            now - timedelta(days=3),
            now - timedelta(days=1),
            list(issued.extensions),
        )
        cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


def openssl(*words: str | Path, given: str = "", until: str = "") -> str:
    """Return all that the openssl program prints; it reads `given`, whose end it sees once it has printed `until`."""
    command = [find("openssl"), *map(str, words)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        said = b""
        try:
            with contextlib.suppress(BrokenPipeError):
                program.stdin.write(given.encode())
                program.stdin.flush()
                while until.encode() not in said and (more := os.read(program.stdout.fileno(), 65536)):
                    said += more
            with contextlib.suppress(BrokenPipeError):
                program.stdin.close()
            return (said + program.stdout.read()).decode("utf-8", "replace")
        finally:
            program.kill()


def _openssl(*words: str | Path) -> None:
    subprocess.run([find("openssl"), *map(str, words)], capture_output=True, check=True, timeout=30)


def make_certificate(folder: Path) -> tuple[Path, str]:
    """Make a key and its self-signed certificate for billing.example: one file with both, and the certificate as text.

    The certificate alone is in `certificate.pem` in the same folder.
    """
    key, pem, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    wanted = ("-subj", "/CN=billing.example", "-addext", "subjectAltName=DNS:billing.example", "-days", "2")
    _openssl("req", "-x509", *_KEY, "-keyout", key, "-out", pem, *wanted)
    both.write_text(key.read_text() + pem.read_text())
    return both, pem.read_text()
