"""A follower's word on whom it passes a request on for: the client's address, authenticated by the follower's own key.

The credentials of a request that is passed on are the caller's, and the connection's address is the follower's. So
that limits and the audit of the registry know the client, the follower adds one header:

    X-Registry-For: for="203.0.113.9";created=1764000000;keyid="follower";mac=:…:

The MAC (HMAC-SHA256) covers the method, the path with its query, the caller's own signature if there is one, and all
of the above. It grants nothing but that address: who the caller is, its own credentials say. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from typing import Final

import msgspec

from registry_core.domain.names import canonical_ip
from registry_core.security.signatures import WINDOW_S, Signature
from registry_core.security.signing_keys import MAX_KEY_ID, SigningKey

FOR_HEADER: Final = "X-Registry-For"
MAX_FOR: Final = 300
_MAX_ADDRESS: Final = 64
_FORM: Final = re.compile(
    rf'for="([0-9a-f:.]{{0,{_MAX_ADDRESS}}})";created=([0-9]{{1,12}});keyid="([A-Za-z0-9][A-Za-z0-9:_-]'
    rf'{{0,{MAX_KEY_ID - 1}}})";mac=:([A-Za-z0-9+/]{{43}}=):',
    re.ASCII,
)


class SpokenFor(msgspec.Struct, frozen=True):
    """What such a header claims: `client` is an IP address, or "" for a client on the follower's own machine."""

    client: str
    claim: Signature

    def is_timely(self, now: float) -> bool:
        """Return whether it was said within WINDOW_S of `now`, Unix time."""
        return abs(now - self.claim.created) <= WINDOW_S


def spoken_for(key: SigningKey, method: str, target: str, *, client: str, seal: str, created: int) -> str:
    """Return the header's value for a request; `seal` is the value of its header Signature, "" without one.

    `target` is the path with its query, exactly as it is sent; `created` Unix time in seconds.
    """
    said = f'for="{client}";created={created};keyid="{key.id}"'
    mac = hmac.digest(key.secret.encode(), _base(method, target, seal, said), "sha256")
    return f"{said};mac=:{base64.b64encode(mac).decode()}:"


def read_spoken_for(header: str, method: str, target: str, *, seal: str) -> SpokenFor | None:
    """Return what the header of a received request claims, not verified; None when it is not of our form."""
    match = _FORM.fullmatch(header) if len(header) <= MAX_FOR else None
    if match is None:
        return None
    client, created, key_id, mac = match.groups()
    if client and canonical_ip(client) != client:
        return None
    try:
        octets = binascii.a2b_base64(mac, strict_mode=True)
    except binascii.Error:
        return None
    base = _base(method, target, seal, header[: match.start(4) - len(";mac=:")])
    return SpokenFor(client, Signature(key_id, int(created), "", base, octets, None))


def _base(method: str, target: str, seal: str, said: str) -> bytes:
    return f"vertice passed on\n{method}\n{target}\n{seal}\n{said}".encode("utf-8", "surrogateescape")
