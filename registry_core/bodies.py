"""Bodies of HTTP messages: read to their end and no further than a bound, and decoded whatever they hold.

aiohttp's `StreamReader.read(n)` returns what has arrived, which may be the first piece of a body and no more.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import StreamReader

T = TypeVar("T")


async def read_up_to(content: StreamReader, most: int) -> bytes:
    """Return the body, or as much as its first `most` bytes. Raises what aiohttp does when it breaks off."""
    body = bytearray()
    while len(body) < most and (piece := await content.read(most - len(body))):
        body += piece
    return bytes(body)


async def read_whole(content: StreamReader, most: int) -> bytes | None:
    """Return the body, or None when it has more than `most` bytes. Raises what aiohttp does when it breaks off."""
    body = await read_up_to(content, most + 1)
    return body if len(body) <= most else None


def decoded(body: bytes, kind: type[T]) -> T | None:
    """Return what the JSON of somebody else says, or None when it is not of that kind, or not JSON."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
