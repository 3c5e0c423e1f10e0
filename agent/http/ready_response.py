"""An answer that is written as it is, headers and all: for bodies that are ready.

aiohttp builds a table of headers for each response and serialises it, which takes longer than all the
rest. What its server asks of a response is three things, which are all that this has: `prepare`,
`write_eof` and `keep_alive`.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import Final

from aiohttp import HttpVersion11, web

# With so much that the peer has not read, the next request waits until it has.
_UNREAD: Final = 64 * 1024


class ReadyResponse:
    """A whole answer to one request that keeps its connection. See `may_have`."""

    __slots__ = ("_data",)
    keep_alive = True
    status = 200

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write everything. Raises ConnectionResetError when nobody is there any more."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(self._data)
        if transport.get_write_buffer_size() > _UNREAD:
            await request.writer.drain()

    async def write_eof(self, _data: bytes = b"") -> None:
        """Do nothing: all is written."""


def may_have(request: web.BaseRequest) -> bool:
    """Return whether a request is one that such an answer fits: a plain GET on a connection that is kept."""
    return request.method == "GET" and request.version == HttpVersion11 and request.keep_alive


class Heads:
    """Heads of answers, but for the length, for as long as they stay the same: a second at most."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, int, str], bytes] = {}
        self._second = -1

    def head(self, content_type: str, age_s: int, freshness: str, wall: float) -> bytes:
        """Return everything up to the value of Content-Length; `wall` is the time now, Unix seconds."""
        if int(wall) != self._second:
            self._second = int(wall)
            self._heads.clear()
        key = (content_type, age_s, freshness)
        found = self._heads.get(key)
        if found is None:
            found = self._heads[key] = (
                f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nAge: {age_s}\r\nX-Cache: {freshness}\r\n"
                f"Date: {formatdate(self._second, usegmt=True)}\r\nContent-Length: "
            ).encode()
        return found
