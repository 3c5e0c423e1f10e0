"""The head of a request without a body, for those who answer it at once.

It has the members of aiohttp's request that checks and notes use, at a fraction of its time: what is noted in it is a
dictionary, and nothing is made before it is asked for.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import HttpVersion
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy, MultiMapping


class RequestHead(dict[Any, Any]):
    """What the peer `remote` of `transport` asks for. As a dictionary, it is what is noted about the request."""

    __slots__ = ("_message", "headers", "raw_path", "remote", "transport")
    body_exists = False

    def __init__(self, message: RawRequestMessage, transport: asyncio.Transport, remote: str | None) -> None:
        self._message = message
        self.headers: CIMultiDictProxy[str] = message.headers
        self.raw_path: str = message.path
        self.remote = remote
        self.transport = transport

    @property
    def method(self) -> str:
        return self._message.method

    @property
    def version(self) -> HttpVersion:
        return self._message.version

    @property
    def scheme(self) -> str:
        return "http" if self.transport.get_extra_info("sslcontext") is None else "https"

    @property
    def path(self) -> str:
        """The path, decoded."""
        return self._message.url.path

    @property
    def query(self) -> MultiMapping[str]:
        """The parameters of the query, decoded."""
        return self._message.url.query

    @property
    def query_string(self) -> str:
        """The query, decoded."""
        return self._message.url.query_string
