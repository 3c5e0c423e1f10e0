"""What a client that may be forged gets instead of an answer: the advice to prove itself, or to retry over TCP.

It costs a victim next to nothing: a header, the question, and an OPT record for those who sent one.
"""

from __future__ import annotations

from typing import Final

from dns import codec
from dns.codec import Answer, Query, Rcode
from dns.drafts import draft_of
from dns.hop import Hops

_TC: Final = codec.TC >> 8  # in the third octet


class RetryAdvice:
    """Makes such answers, with the cookies of one server."""

    def __init__(self, hops: Hops) -> None:
        self._hops = hops

    def instead_of_any(self, query: bytes, host: str) -> bytes | None:
        """Return a minimal answer: half a cookie is completed, and other clients are told to retry over TCP."""
        asked = codec.read(query)
        if not isinstance(asked, Query):
            return None
        if asked.edns is not None and asked.edns.cookie is not None and asked.edns.version == 0:
            hop = self._hops.of(asked, host, None)
            return hop.finish(draft_of(asked, Answer(Rcode.BADCOOKIE, authoritative=False), hop.room))
        return self._over_tcp(asked, host)

    def brief(self, answer: bytes, query: bytes, host: str) -> bytes:
        """Return `answer`, without its records if it is truncated: a real client asks again, and needs none of them."""
        if not answer[2] & _TC:
            return answer
        asked = codec.read(query)
        return self._over_tcp(asked, host) if isinstance(asked, Query) else answer

    def _over_tcp(self, asked: Query, host: str) -> bytes:
        hop = self._hops.of(asked, host, None)
        return hop.finish(draft_of(asked, Answer(Rcode.NOERROR, authoritative=False, ask_over_tcp=True), hop.room))
