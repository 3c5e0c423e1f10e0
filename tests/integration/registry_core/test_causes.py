"""Servers that misbehave: commands and agents report them in words of their own."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator

import aiohttp
import pytest

from cli import main as command_line
from registry_core.causes import UNEXPECTED, cause_of
from tests.programs import free_port

LIBRARY_TEXT = re.compile(r"\[Errno|`|Error\b|Exception\b|Encoding|<[A-Za-z_]|0x[0-9a-f]|_ssl|\('|b'|None\b|Expected")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ANSWERS = {
    "closed at once": b"",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a broken status line": b"HTTP/1.1 abc\r\n\r\n",
    "a broken header": b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
    "a broken chunk": CHUNKED + b"zz\r\n",
    "cut within a chunk": CHUNKED + b"20\r\n[",
    "cut within a body": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[",
    "a page": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
    "a page with 200": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
    "not UTF-8": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
    "JSON of another kind": b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}',
    "much compressed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
}


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Answer every request with `answer`, and close the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize(
    "argv",
    [
        ("services", "--agent"),
        ("explain", "web", "--agent"),
        ("resolve", "web", "--agent"),
        ("guard", "status", "--registry"),
    ],
    ids=lambda argv: argv[0],
)
def test_a_command_says_it_in_its_own_words(
    argv: tuple[str, ...], answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(answer) as url:
        command_line.main([*argv, url])
    said = capsys.readouterr().err.replace("<html>", "")
    assert LIBRARY_TEXT.search(said) is None, said
    assert "Traceback" not in said


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_agents_request_fails_in_words(answer: bytes) -> None:
    with answering(answer) as url:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(url) as response:
                    await response.read()
            except aiohttp.ClientError as error:
                said = cause_of(error)
                assert not said.startswith(UNEXPECTED)
                assert LIBRARY_TEXT.search(said) is None, said


@pytest.mark.parametrize("url", ["http://127.0.0.1:{closed}", "http://name.invalid:1", "https://127.0.0.1:{plain}"])
async def test_a_connection_fails_in_words(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as plain:
        url = url.format(closed=free_port(), plain=plain.rpartition(":")[2])
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError) as failure:
                await session.get(url)
        said = cause_of(failure.value)
        assert not said.startswith(UNEXPECTED)
        assert LIBRARY_TEXT.search(said) is None, said
