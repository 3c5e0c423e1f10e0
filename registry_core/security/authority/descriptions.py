"""What is said of an authority's certificate, for those who do not load `cryptography`. Pure."""

from __future__ import annotations

import msgspec


class AuthorityCertificate(msgspec.Struct, frozen=True):
    """One certificate of an authority. `not_after` is in Unix seconds."""

    name: str
    key_id: str  # hexadecimal: two certificates of one key have the same
    not_after: float
