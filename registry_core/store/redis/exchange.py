"""Sends commands to one server and reads all their answers, in a fraction of redis-py's time for each answer.

redis-py awaits each answer through five calls and starts a task for each send: a registration took longer for that than
for its JSON. Here all answers that have arrived are parsed in one loop. What the bytes mean stays hiredis' matter, and
which error an answer is redis-py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from hiredis import Reader
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

READ_BYTES: Final = 256 * 1024
_INCOMPLETE: Final = object()


class RedisExchange:
    """The two directions of one connection, while nothing else uses it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refusal: Callable[[str], Exception]
    ) -> None:
        """`refusal` returns the error that an answer's text stands for."""
        self._stream = reader
        self._writer = writer
        self._answers = Reader(protocolError=InvalidResponse, replyError=refusal, notEnoughData=_INCOMPLETE)

    async def ask(self, packed: bytes, count: int, arrived: Callable[[int], None] | None = None) -> list[Any]:
        """Send commands and return their answers, a ResponseError where the server refused one.

        `arrived` is called with the number of answers, after each read that brought some. Raises ConnectionError when
        the connection ends, or an answer says that the server takes no commands at all.
        """
        if self._writer.transport.is_closing():
            raise RedisConnectionError("the connection has ended")
        gets, answers = self._answers.gets, list[Any]()
        try:
            self._writer.write(packed)
            await self._writer.drain()
            while len(answers) < count:
                answer = gets()
                if answer is _INCOMPLETE:
                    if arrived is not None and answers:
                        arrived(len(answers))
                    self._answers.feed(await self._read())
                    continue
                if isinstance(answer, RedisConnectionError):
                    raise answer
                answers.append(answer)
        except OSError as error:
            raise RedisConnectionError("the connection broke") from error
        if arrived is not None:
            arrived(len(answers))
        return answers

    async def _read(self) -> bytes:
        data = await self._stream.read(READ_BYTES)
        if not data:
            raise RedisConnectionError("the server closed the connection")
        return data
