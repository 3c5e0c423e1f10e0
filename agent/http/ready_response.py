"""A response that is already serialised, headers included: for ready bodies.

aiohttp builds and serialises a table of headers for each response, which takes longer than everything else. Its
server needs only three members of a response, and this has just those: `prepare`, `write_eof` and `keep_alive`.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import Final

from aiohttp import HttpVersion11, web

# With more unread bytes than this, the next request waits until the peer has read them.
_UNREAD: Final = 64 * 1024


class ReadyResponse:
    """A complete response to one request on a kept connection. See `may_have`."""

    __slots__ = ("_data",)
    keep_alive = True
    status = 200

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write everything. Raises ConnectionResetError when the peer is gone."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(self._data)
        if transport.get_write_buffer_size() > _UNREAD:
            await request.writer.drain()

    async def write_eof(self, _data: bytes = b"") -> None:
        """Do nothing: everything has been written."""


def may_have(request: web.BaseRequest) -> bool:
    """Return whether the request may get such a response: a plain GET on a kept connection."""
    return request.method == "GET" and request.version == HttpVersion11 and request.keep_alive


class Heads:
    """Caches the heads of responses, up to the length, while they stay the same: a second at most."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, int, str], bytes] = {}
        self._second = -1

    def head(self, content_type: str, age_s: int, confidence: str, wall: float) -> bytes:
        """Return everything up to the value of Content-Length; `wall` is the current time in Unix seconds."""
        if int(wall) != self._second:
            self._second = int(wall)
            self._heads.clear()
        key = (content_type, age_s, confidence)
        found = self._heads.get(key)
        if found is None:
            found = self._heads[key] = (
                f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nAge: {age_s}\r\nX-Cache: {confidence}\r\n"
                f"Date: {formatdate(self._second, usegmt=True)}\r\nContent-Length: "
            ).encode()
        return found
