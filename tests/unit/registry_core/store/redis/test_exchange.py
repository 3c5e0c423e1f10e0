"""Answers of a server are read as they come, in whatever pieces; an error ends a connection only when it should."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from registry_core.store.redis.exchange import RedisExchange


class Written:
    """Stands in for the writing half of a connection. `told`: the stream that gets `answers` once something is sent."""

    def __init__(self, told: asyncio.StreamReader, *answers: bytes) -> None:
        self.transport = self
        self.sent = b""
        self._told = told
        self._answers = answers

    def is_closing(self) -> bool:
        return False

    def write(self, octets: bytes) -> None:
        self.sent += octets
        asyncio.get_running_loop().create_task(self._answer())

    async def drain(self) -> None:
        pass

    async def _answer(self) -> None:
        for answer in self._answers:
            self._told.feed_data(answer)
            await asyncio.sleep(0)
            await asyncio.sleep(0)


def refusal(text: str) -> Exception:
    return BusyLoadingError(text) if text.startswith("LOADING") else ResponseError(text)


def exchange(*answers: bytes) -> tuple[RedisExchange, Written, asyncio.StreamReader]:
    stream = asyncio.StreamReader()
    written = Written(stream, *answers)
    return RedisExchange(stream, cast("asyncio.StreamWriter", written), refusal), written, stream


async def test_answers_are_read_in_whatever_pieces_they_come() -> None:
    ours, written, _ = exchange(b"$2\r\nab\r", b"\n:5\r\n*2\r\n$1\r\nx\r\n", b"$-1\r\n")
    numbers: list[int] = []
    assert await ours.ask(b"sent", 3, numbers.append) == [b"ab", 5, [b"x", None]]
    assert written.sent == b"sent"
    assert numbers == [2, 3], "each time when some have come"


async def test_a_refused_command_is_an_answer_and_the_others_are_read() -> None:
    ours, _, _ = exchange(b"-NOREPLICAS no\r\n+OK\r\n")
    refused, fine = await ours.ask(b"", 2)
    assert isinstance(refused, ResponseError)
    assert fine == b"OK"


async def test_a_server_that_loads_its_data_ends_the_exchange() -> None:
    ours, _, _ = exchange(b"-LOADING wait\r\n+OK\r\n")
    with pytest.raises(RedisConnectionError):
        await ours.ask(b"", 2)


async def test_a_connection_that_ends_early_is_an_error() -> None:
    ours, _, stream = exchange(b"+OK\r\n")
    asyncio.get_running_loop().call_later(0.01, stream.feed_eof)
    with pytest.raises(RedisConnectionError, match="closed"):
        await ours.ask(b"", 2)
