"""Reads bodies of HTTP messages whole, up to a limit, and decodes them without trusting their content.

aiohttp's `StreamReader.read(n)` returns what has arrived, which may be only the first piece of a body.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import StreamReader

T = TypeVar("T")


async def read_up_to(content: StreamReader, most: int) -> bytes:
    """Return the first `most` bytes of the body. Raises aiohttp's error when the body breaks off."""
    body = bytearray()
    while len(body) < most and (piece := await content.read(most - len(body))):
        body += piece
    return bytes(body)


async def read_whole(content: StreamReader, most: int) -> bytes | None:
    """Return the body, or None when it exceeds `most` bytes. Raises aiohttp's error when the body breaks off."""
    body = await read_up_to(content, most + 1)
    return body if len(body) <= most else None


def decoded(body: bytes, kind: type[T]) -> T | None:
    """Return a foreign body decoded as `kind`, or None when it is not JSON or has another shape."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
