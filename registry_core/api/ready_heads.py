"""Makes the heads of ready answers, and answers from them: octets that need no more work to be sent.

aiohttp builds and serialises a table of headers for each response, which takes longer than everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, TypeAlias

from registry_core.api.ready_bodies import HeaderFields

# The octets of a whole answer, in the order in which they are sent; empty when there is none.
ReadyAnswer: TypeAlias = Sequence[bytes]
NO_ANSWER: Final[ReadyAnswer] = ()
# Copying less than this to join it with the head takes less time than sending it apart.
_SMALL: Final = 16 * 1024
_NOTHING_MORE: Final[Mapping[str, str]] = {}


class ReadyHeads:
    """Caches heads, up to the length of the body, while they stay the same: a second at most, since they have a date.

    The caller bounds how many there are within a second.
    """

    def __init__(self, status: HTTPStatus = HTTPStatus.OK) -> None:
        """`status` is that of the answers that succeed."""
        self._status = status
        self._heads: dict[HeaderFields, bytes] = {}
        self._not_modified: dict[HeaderFields, bytes] = {}
        self._second = -1

    def ok(
        self, fields: HeaderFields, body: Sequence[bytes], wall: float, more: Mapping[str, str] = _NOTHING_MORE
    ) -> ReadyAnswer:
        """Return a whole answer with these header fields; `wall` is the current time in Unix seconds."""
        if int(wall) != self._second:
            self._renew(wall)
        head = self._heads.get(fields)
        if head is None:
            head = self._heads[fields] = self._made(self._status, fields) + b"Content-Length: "
        size = sum(map(len, body))
        if size <= _SMALL and not more:
            return (b"%b%d\r\n\r\n%b" % (head, size, b"".join(body)),)
        return (b"%b%d\r\n%b\r\n" % (head, size, _lines(more.items())), *body)

    def not_modified(self, fields: HeaderFields, wall: float, more: Mapping[str, str] = _NOTHING_MORE) -> ReadyAnswer:
        """Return a whole answer that says that its reader has the present version (RFC 9110 section 15.4.5)."""
        if int(wall) != self._second:
            self._renew(wall)
        head = self._not_modified.get(fields)
        if head is None:
            head = self._not_modified[fields] = self._made(HTTPStatus.NOT_MODIFIED, fields)
        return (b"%b%b\r\n" % (head, _lines(more.items())),)

    def _renew(self, wall: float) -> None:
        self._second = int(wall)
        self._heads.clear()
        self._not_modified.clear()

    def _made(self, status: HTTPStatus, fields: HeaderFields) -> bytes:
        date = ("Date", formatdate(self._second, usegmt=True))
        return f"HTTP/1.1 {status} {status.phrase}\r\n".encode() + _lines((*fields, date))


def _lines(fields: Iterable[tuple[str, str]]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
