"""Reads the answer to one HTTP/1.1 request, as far as a check needs it (RFC 9112). Pure: octets in, an answer out.

A service may answer with anything, for ever. So heads, interim responses, the body and all octets together are
bounded, and reading ends as soon as enough is known. A general client buffers such floods: it reads on as long as
its time lasts.
"""

from __future__ import annotations

import enum
import re
from typing import Final

MAX_BODY_BYTES: Final = 16 * 1024
# All heads of one answer together, with those of its interim responses.
MAX_HEAD_BYTES: Final = 32 * 1024
# 1xx responses before the final one (RFC 9110 section 15.2). Servers send one or two.
MAX_INTERIM: Final = 8
# With the framing of a chunked body, and its trailers.
MAX_OCTETS: Final = MAX_HEAD_BYTES + 2 * MAX_BODY_BYTES
_MAX_CHUNK_LINE: Final = 1024

# Bare line feeds are accepted (RFC 9112 section 2.2).
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[0-9] +([1-9][0-9]{2})(?: .*)?\r?", re.DOTALL)
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r?", re.DOTALL)
_SWITCHING_PROTOCOLS: Final = 101
_WITHOUT_BODY: Final = frozenset((_SWITCHING_PROTOCOLS, 204, 304))


class BadAnswer(ValueError):
    """Raised when an answer is not HTTP/1.1, or exceeds a limit."""


class _Part(enum.Enum):
    """What the next octets belong to."""

    HEAD = enum.auto()
    FIXED = enum.auto()  # a body of known length
    CHUNK_SIZE = enum.auto()
    CHUNK = enum.auto()
    CHUNK_END = enum.auto()
    TO_THE_END = enum.auto()  # a body that ends with the connection


class HttpAnswer:
    """One answer while it arrives. `done` once enough of it is known.

    Without `wants_body`, that is when its body begins to arrive; with it, when MAX_BODY_BYTES of the body are there.
    """

    def __init__(self, method: str, *, wants_body: bool) -> None:
        self.status = 0
        self.body = bytearray()
        self.done = False
        self._without_body = method == "HEAD"
        self._enough = MAX_BODY_BYTES if wants_body else 1
        self._part = _Part.HEAD
        self._buffer = bytearray()
        self._searched = 0  # as far as the buffer holds no end of a head
        self._octets = self._head_octets = self._interim = 0
        self._left = 0  # of the body, or of its chunk

    def feed(self, data: bytes) -> None:
        """Take the next octets. Raises BadAnswer."""
        self._octets += len(data)
        self._buffer += data[:MAX_OCTETS]
        while not self.done and self._step():
            pass
        if not self.done and self._octets > MAX_OCTETS:
            raise BadAnswer(f"its answer has more than {MAX_OCTETS} bytes")

    def end(self) -> None:
        """Take the end of the connection. Raises BadAnswer when the answer is not complete."""
        if self._part is _Part.TO_THE_END:
            self.done = True
        elif not self.done:
            seen = "before" if self.status == 0 else "in the middle of"
            raise BadAnswer(f"the connection was closed {seen} the answer")

    def _step(self) -> bool:
        """Consume one element of the buffer; return whether there may be another."""
        match self._part:
            case _Part.HEAD:
                return self._read_head()
            case _Part.CHUNK_SIZE | _Part.CHUNK_END:
                return self._read_chunk_line()
            case _Part.FIXED | _Part.CHUNK | _Part.TO_THE_END:
                return self._read_body()

    def _read_head(self) -> bool:
        if not self._searched:
            empty = len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))  # lines before a status line
            del self._buffer[:empty]
            self._head_octets += empty
        if not b"HTTP/1.".startswith(bytes(self._buffer[:7])):
            raise BadAnswer("its answer is not HTTP/1.1")
        found = _HEAD_END.search(self._buffer, max(0, self._searched - 2))
        self._searched = len(self._buffer)
        size = found.end() if found is not None else len(self._buffer)
        if self._head_octets + size > MAX_HEAD_BYTES:
            raise BadAnswer(f"the head of its answer has more than {MAX_HEAD_BYTES} bytes")
        if found is None:
            return False
        head = bytes(self._buffer[: found.start()])
        del self._buffer[:size]
        self._head_octets += size
        self._searched = 0
        self._take_head(head)
        return True

    def _take_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\n")
        line = _STATUS_LINE.fullmatch(first)
        if line is None:
            raise BadAnswer("its answer is not HTTP/1.1")
        status = int(line[1])
        if status < 200 and status != _SWITCHING_PROTOCOLS:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise BadAnswer(f"it sends more than {MAX_INTERIM} interim responses")
            return
        self.status = status
        length, chunked = _framing(lines)
        if self._without_body or status in _WITHOUT_BODY:
            self.done = True
        elif chunked:
            self._part = _Part.CHUNK_SIZE
        elif length is None:
            self._part = _Part.TO_THE_END
        else:
            self._part, self._left = _Part.FIXED, length
            self.done = length == 0

    def _read_chunk_line(self) -> bool:
        at = self._buffer.find(b"\n")
        if at < 0:
            if len(self._buffer) > _MAX_CHUNK_LINE:
                raise BadAnswer("its chunked body cannot be read")
            return False
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        if self._part is _Part.CHUNK_END:
            if line.rstrip(b"\r"):
                raise BadAnswer("its chunked body cannot be read")
            self._part = _Part.CHUNK_SIZE
            return True
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise BadAnswer("its chunked body cannot be read")
        self._left = int(size[1], 16)
        self._part = _Part.CHUNK
        self.done = self._left == 0  # trailers do not matter
        return True

    def _read_body(self) -> bool:
        wanted = self._enough - len(self.body)
        most = len(self._buffer) if self._part is _Part.TO_THE_END else min(self._left, len(self._buffer))
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        self._left -= most
        self.body += piece[:wanted]
        if len(self.body) >= self._enough:
            self.done = True
        elif self._part is not _Part.TO_THE_END and self._left == 0:
            self.done = self._part is _Part.FIXED
            self._part = _Part.CHUNK_END
            return True
        return False


def _framing(lines: list[bytes]) -> tuple[int | None, bool]:
    """Return the length of the body, if a header tells it, and whether it is chunked (RFC 9112 section 6.3)."""
    lengths: set[bytes] = set()
    chunked = False
    for line in lines:
        if line[:1] in (b" ", b"\t"):  # obs-fold: neither header of ours is folded
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            raise BadAnswer("its answer is not HTTP/1.1")
        match name.strip().lower():
            case b"content-length":
                lengths |= {part.strip() for part in value.split(b",")}
            case b"transfer-encoding":
                chunked = value.strip().lower().endswith(b"chunked")
    if chunked:
        return None, True
    if not lengths:
        return None, False
    (length, *others) = lengths
    if others or not length.isdigit() or len(length) > 18:
        raise BadAnswer("its Content-Length cannot be read")
    return int(length), False
