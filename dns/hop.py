"""The hop between this server and a client: finishes every answer, from the zone, a resolver or an error.

The OPT record, DNS cookies, edns-tcp-keepalive, RA and the size of a message are between two neighbours (RFC 6891
section 6.1.1). They depend on the query and on the server, not on who answers: this zone, a resolver, a special
name or a failure. A client that got a cookie from a server discards that server's answers without one (RFC 7873
section 5.3), so each answer leaves through `Hop.finish`.
"""

from __future__ import annotations

import secrets
import struct
from typing import Final

import msgspec

from dns.askers import Asker, asker_of
from dns.codec import COOKIE, DO, KEEPALIVE, MAX_MESSAGE, MIN_UDP_PAYLOAD, RA, Edns, Query, Refusal, Type
from dns.cookies import CLIENT_LENGTH, SECRET_LENGTH, Cookies
from dns.drafts import Draft, fitting, option
from registry_core.ports.clock import Clock

# An OPT record without options.
OPT_OCTETS: Final = 11
_RR: Final = struct.Struct("!HHIH")
_COUNTED_AT: Final = 10  # the count of additional records


class Hop(msgspec.Struct, frozen=True):
    """What one client gets with the answer to one query. `size` and `payload` are in octets."""

    host: str
    idle_s: float | None  # how long the client's TCP connection may idle; None over UDP
    edns: Edns | None
    size: int  # the largest message that the client accepts
    options: bytes
    payload: int  # the largest datagram that this server accepts
    recursion: bool  # whether foreign names are looked up for this client
    port: int | str = 0  # of a client on this machine, or whose the connection is

    @property
    def asker(self) -> Asker:
        """The asker, for fair turns."""
        return asker_of(self.host, self.port, over_tcp=self.over_tcp)

    @property
    def over_tcp(self) -> bool:
        """Whether the answer is sent over TCP: then there is no transport left to refer the client to."""
        return self.idle_s is not None

    @property
    def room(self) -> int:
        """The octets that are left for a draft and its errors."""
        return self.size if self.edns is None else self.size - OPT_OCTETS - len(self.options)

    def finish(self, draft: Draft) -> bytes:
        """Return the answer to send: `draft` with RA, with an OPT record if the client sent one, and a TSIG last."""
        message, edns = draft.message, self.edns
        tail, count = draft.signature, 1 if draft.signature else 0
        if edns is not None:
            options = fitting(draft.errors, self.room - len(message) - len(tail)) + self.options
            # The version is always ours, 0; DO is copied (RFC 3225 section 3).
            extended = (draft.rcode >> 4) << 24 | (DO if edns.dnssec_ok else 0)
            tail = b"\0" + _RR.pack(Type.OPT, self.payload, extended, len(options)) + options + tail
            count += 1
        flags = message[3] | RA if self.recursion else message[3]
        counted = int.from_bytes(message[_COUNTED_AT : _COUNTED_AT + 2]) + count
        head = b"".join((message[:3], flags.to_bytes(1), message[4:_COUNTED_AT], counted.to_bytes(2)))
        return b"".join((head, message[_COUNTED_AT + 2 :], tail))


class Hops:
    """Makes the hop of each query, with the cookies of one server."""

    def __init__(self, clock: Clock, udp_payload: int, *, recursion: bool) -> None:
        self._clock = clock
        self._payload = udp_payload
        self._recursion = recursion
        # Cookies hold Unix seconds, and must survive a step of the wall clock.
        self._epoch_s = clock.wall() - clock.monotonic()
        self._cookies = Cookies(secrets.token_bytes(SECRET_LENGTH))

    def of(
        self, asked: Query | Refusal, host: str, idle_s: float | None, *, admitted: bool = True, port: int | str = 0
    ) -> Hop:
        """Return the hop of a query from `host`, as `Hop` has it; `admitted` is whether that client may query."""
        edns = asked.edns
        size = MAX_MESSAGE
        if idle_s is None:
            size = MIN_UDP_PAYLOAD if edns is None else max(MIN_UDP_PAYLOAD, min(edns.payload, self._payload))
        options = self._options(edns, host, idle_s)
        return Hop(host, idle_s, edns, size, options, self._payload, self._recursion and admitted, port)

    def proves(self, edns: Edns | None, host: str) -> bool:
        """Return whether a query has a valid cookie: then its sender's address is not forged."""
        return edns is not None and edns.cookie is not None and self._cookies.proves(edns.cookie, host, self._now_s())

    def disproves(self, edns: Edns, host: str) -> bool:
        """Return whether a query has a server cookie that is not valid."""
        return edns.cookie is not None and len(edns.cookie) > CLIENT_LENGTH and not self.proves(edns, host)

    def _options(self, edns: Edns | None, host: str, idle_s: float | None) -> bytes:
        """Return the options that answer those of a query; what those of another version mean is not known."""
        if edns is None or not edns.has_options or edns.version != 0:
            return b""
        options = b""
        if edns.cookie is not None:
            options = option(COOKIE, self._cookies.answer(edns.cookie, host, self._now_s()))
        if edns.keepalive and idle_s is not None:
            options += option(KEEPALIVE, min(65535, int(idle_s * 10)).to_bytes(2))
        return options

    def _now_s(self) -> int:
        return int(self._epoch_s + self._clock.monotonic())
