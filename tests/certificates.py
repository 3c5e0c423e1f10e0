"""A certificate for tests that speak TLS, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.programs import find


def make_certificate(folder: Path) -> tuple[Path, str]:
    """Make a key with its self-signed certificate for billing.example: both in one file, and the latter as text.

    The certificate alone is beside it, in `certificate.pem`.
    """
    key, pem, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    wanted = ["-subj", "/CN=billing.example", "-addext", "subjectAltName=DNS:billing.example", "-days", "2"]
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(
        [find("openssl"), "req", "-x509", "-nodes", *made, *wanted], check=True, capture_output=True, timeout=30
    )
    both.write_text(key.read_text() + pem.read_text())
    return both, pem.read_text()
