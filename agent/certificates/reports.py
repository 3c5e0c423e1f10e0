"""What an agent reports of its certificates. Pure."""

from __future__ import annotations

import msgspec


class CertificateReport(msgspec.Struct, kw_only=True):
    """The certificate of one service, as `GET /self` shows it."""

    service_name: str
    file: str
    serial: str  # hexadecimal; "" while there is none
    issuer: str  # the key id of the authority
    not_after: str | None
    ends_in_seconds: float | None
    renews_in_seconds: float
    renewals: int  # since the agent started, the first one included
    problem: str
