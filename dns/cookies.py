"""DNS cookies: a client's proof that it receives the answers sent to its address.

RFC 7873, with server cookies in the format of RFC 9018. Pure: the time is an argument, and no state is
kept for any client. A valid cookie proves only that the sender's address is not forged.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import ipaddress
import struct
from typing import Final

from registry_core.domain.names import unmapped

CLIENT_LENGTH: Final = 8
SECRET_LENGTH: Final = 16
# RFC 9018 section 4.3: how old a cookie may be, how far ahead of our clock, and at which age it is replaced.
MAX_AGE_S: Final = 3600
MAX_AHEAD_S: Final = 300
RENEW_AFTER_S: Final = 1800
# Each day has its own key, so that none is used for longer than the 36 days of RFC 7873 section 7.1.
KEY_LIFETIME_S: Final = 86_400
_VERSION: Final = b"\x01\0\0\0"
_SERVER_LENGTH: Final = 16
_MASK: Final = (1 << 64) - 1


class Cookies:
    """Makes and checks cookies with one secret, from which each day's key is derived."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def answer(self, cookie: bytes, host: str, now_s: int) -> bytes:
        """Return the cookie to send back: the same one while it is young, else a new one.

        `cookie` is the option's data, 8 or 16 to 40 octets; `now_s` are Unix seconds.
        """
        if self.proves(cookie, host, now_s) and _age_s(cookie, now_s) <= RENEW_AFTER_S:
            return cookie
        client, head = cookie[:CLIENT_LENGTH], _VERSION + (now_s & 0xFFFF_FFFF).to_bytes(4)
        return client + head + self._hash(client, head, host)

    def proves(self, cookie: bytes, host: str, now_s: int) -> bool:
        """Return whether the server's part of `cookie` was issued to `host`, and recently enough."""
        client, server = cookie[:CLIENT_LENGTH], cookie[CLIENT_LENGTH:]
        if len(server) != _SERVER_LENGTH or server[0] != _VERSION[0]:
            return False
        if not -MAX_AHEAD_S <= _age_s(cookie, now_s) <= MAX_AGE_S:
            return False
        return hmac.compare_digest(server[8:], self._hash(client, server[:8], host))

    def _hash(self, client: bytes, head: bytes, host: str) -> bytes:
        return server_hash(self._key(int.from_bytes(head[4:])), client, head, host)

    def _key(self, time_s: int) -> bytes:
        day = (time_s // KEY_LIFETIME_S).to_bytes(4)
        return hashlib.blake2s(day, key=self._secret, digest_size=SECRET_LENGTH).digest()


def server_hash(key: bytes, client: bytes, head: bytes, host: str) -> bytes:
    """Return the hash in a server cookie (RFC 9018 section 4.4); `head` is version, reserved and time."""
    return siphash(key, client + head + _packed(host))


@functools.lru_cache(maxsize=1024)
def _packed(host: str) -> bytes:
    return unmapped(ipaddress.ip_address(host.partition("%")[0])).packed


def _age_s(cookie: bytes, now_s: int) -> int:
    # Serial numbers (RFC 1982): in 2106 the time wraps to 0.
    age_s = (now_s - int.from_bytes(cookie[12:16])) & 0xFFFF_FFFF
    return age_s - (1 << 32) if age_s >> 31 else age_s


def siphash(key: bytes, data: bytes) -> bytes:
    """Return SipHash-2-4 (Aumasson and Bernstein, 2012) of `data` under a key of 16 octets."""
    k0, k1 = struct.unpack("<QQ", key)
    state = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    padded = data + bytes(7 - len(data) % 8) + bytes((len(data) & 0xFF,))
    for (word,) in struct.iter_unpack("<Q", padded):
        v0, v1, v2, v3 = _rounds(state[0], state[1], state[2], state[3] ^ word, 2)
        state = (v0 ^ word, v1, v2, v3)
    v0, v1, v2, v3 = _rounds(state[0], state[1], state[2] ^ 0xFF, state[3], 4)
    return struct.pack("<Q", v0 ^ v1 ^ v2 ^ v3)


def _rounds(v0: int, v1: int, v2: int, v3: int, count: int) -> tuple[int, int, int, int]:
    # Rotations are inlined: a call for each would take three times as long.
    for _ in range(count):
        v0 = (v0 + v1) & _MASK
        v2 = (v2 + v3) & _MASK
        v1 = (v1 << 13 & _MASK | v1 >> 51) ^ v0
        v3 = (v3 << 16 & _MASK | v3 >> 48) ^ v2
        v0 = ((v0 << 32 & _MASK | v0 >> 32) + v3) & _MASK
        v2 = (v2 + v1) & _MASK
        v3 = (v3 << 21 & _MASK | v3 >> 43) ^ v0
        v1 = (v1 << 17 & _MASK | v1 >> 47) ^ v2
        v2 = v2 << 32 & _MASK | v2 >> 32
    return v0, v1, v2, v3
