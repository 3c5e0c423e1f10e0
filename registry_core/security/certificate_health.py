"""What health says of a certificate in use; a program without TLS loads this and nothing more of it. Pure."""

from __future__ import annotations

import msgspec


class CertificateHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate in use, as `/health` and `/self` show it. `expires_at` is in Unix seconds."""

    serial: str = ""
    expires_at: float | None = None
    problem: str = ""
