"""Bodies: all pieces are read, and nothing beyond the limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import aiohttp
import msgspec
import pytest
from aiohttp.base_protocol import BaseProtocol

from registry_core.bodies import decoded, read_up_to, read_whole

T = TypeVar("T")


def stream() -> aiohttp.StreamReader:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return aiohttp.StreamReader(protocol, 2**16, loop=loop)


async def fed(content: aiohttp.StreamReader, reading: Awaitable[T], *pieces: bytes) -> T:
    """Return the result of `reading` while `pieces` arrive one by one, and then the end."""
    task = asyncio.ensure_future(reading)
    for piece in pieces:
        await asyncio.sleep(0)
        content.feed_data(piece)
    await asyncio.sleep(0)
    content.feed_eof()
    return await task


async def test_a_body_that_comes_in_pieces_is_read_whole() -> None:
    content = stream()
    assert await fed(content, read_whole(content, 12), b"first ", b"sec", b"ond") == b"first second"


async def test_an_empty_body_is_complete() -> None:
    content = stream()
    assert await fed(content, read_whole(content, 12)) == b""


@pytest.mark.parametrize("pieces", [(b"first second!",), (b"first ", b"second", b"!"), (b"x" * 1000, b"y")])
async def test_a_body_over_the_limit_is_refused(pieces: tuple[bytes, ...]) -> None:
    content = stream()
    assert await fed(content, read_whole(content, 12), *pieces) is None


async def test_only_the_start_of_a_body_can_be_read() -> None:
    content = stream()
    assert await fed(content, read_up_to(content, 8), b"first ", b"second", b" third") == b"first se"


async def test_a_body_that_breaks_off_is_refused() -> None:
    content = stream()
    reading = asyncio.ensure_future(read_whole(content, 12))
    await asyncio.sleep(0)
    content.feed_data(b"first ")
    content.set_exception(aiohttp.ClientPayloadError("it broke off"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await reading


class Said(msgspec.Struct):
    """A sample body."""

    name: str
    rest: object = None


def test_a_body_is_decoded() -> None:
    assert decoded(b'{"name":"orders","unknown":1}', Said) == Said("orders")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"name":1}', b'{"name":"\xff"}', b'{"name":"a","rest":' + b"[" * 100_000],
    ids=["nothing", "a page", "a list", "a field is missing", "another type", "not UTF-8", "too deep"],
)
def test_a_body_of_another_kind_is_refused(body: bytes) -> None:
    assert decoded(body, Said) is None
