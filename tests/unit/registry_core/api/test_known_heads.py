"""Octets that were parsed before: bounded, and only those that may come again."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage

from registry_core.api.known_heads import MAX_HEADS, MAX_OCTETS, KnownHeads, ends_a_head


def octets_of(target: str = "/services/billing", **headers: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: registry"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def parsed(octets: bytes) -> RawRequestMessage:
    loop = asyncio.get_running_loop()
    ((message, _),), _, _ = HttpRequestParser(BaseProtocol(loop), loop, 4096).feed_data(octets)
    return message


async def test_known_octets_mean_what_they_meant() -> None:
    heads, octets = KnownHeads(), octets_of()
    assert heads.find(octets) is None
    heads.learn(octets, message := await parsed(octets))
    assert heads.find(octets_of()) is message
    assert heads.find(octets_of(X="1")) is None


@pytest.mark.parametrize(
    "headers",
    [{"Signature_Input": "vertice=()"}, {"TraceParent": "00-1-2-3"}, {"X": "x" * MAX_OCTETS}],
)
async def test_what_does_not_come_again_is_not_remembered(headers: dict[str, str]) -> None:
    heads, octets = KnownHeads(), octets_of(**headers)
    heads.learn(octets, await parsed(octets))
    assert len(heads) == 0


async def test_the_memory_is_bounded() -> None:
    heads, message = KnownHeads(), await parsed(octets_of())
    for number in range(3 * MAX_HEADS):
        heads.learn(octets_of(X=str(number)), message)
        assert len(heads) <= MAX_HEADS


@pytest.mark.parametrize(
    ("octets", "ends"), [(octets_of(), True), (octets_of()[:-1], False), (octets_of() + b"GET /", False)]
)
def test_a_head_ends_with_an_empty_line(octets: bytes, ends: bool) -> None:
    assert ends_a_head(octets) is ends
