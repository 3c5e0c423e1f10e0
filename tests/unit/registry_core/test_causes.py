"""The table of causes: words for people, and nothing of a library's own text."""

from __future__ import annotations

import asyncio
import builtins
import errno
import http.client
import json
import os
import re
import socket
import ssl
from typing import Annotated, Any

import aiohttp
import h2.exceptions
import hpack.exceptions
import hyperframe.exceptions
import msgspec
import pytest
from aiohttp import http_exceptions
from hypothesis import given
from hypothesis import strategies as st

from registry_core import causes
from registry_core.blocking import NoThread
from registry_core.causes import UNEXPECTED, cause_of
from registry_core.content_faults import shape_fault, unreadable
from registry_core.errors import SettingsError
from registry_core.upstreams.probes import Silent

# What only libraries write: numbers of errors, types in backquotes, classes, reprs of objects and of addresses.
LIBRARY_TEXT = re.compile(r"\[Errno|errno|`|Error\b|Exception\b|<[A-Za-z_]|0x[0-9a-f]|_ssl|\('|\$\.|b'|None|Expected")


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """All kinds of fields."""

    port: int
    weight: float | None = None
    tags: list[str] = []
    nested: dict[str, int] = {}
    is_on: bool = False


def from_json(text: bytes, kind: Any = Shape) -> Exception:
    try:
        msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return error
    raise AssertionError("it was decoded")


def of_json_library() -> Exception:
    try:
        json.loads("{\n x")
    except ValueError as error:
        return error
    raise AssertionError("it was decoded")


def of_text() -> Exception:
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError("it was decoded")


def certificate(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)")
    error.verify_code = code
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] (_ssl.c:1006)")
    error.reason = reason
    return error


KEY: Any = None  # of a connection: aiohttp's errors keep it for their text
REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (REFUSED, "Connection refused"),
        (OSError(f"Multiple exceptions: {REFUSED}, [Errno 101] Connect call failed"), "Connection refused"),
        (OSError(None, "the words of one of ours"), "the words of one of ours"),
        (OSError("text of a library"), f"{UNEXPECTED} (OSError)"),
        (OSError(errno.ENOSPC, "x"), "No space left on device"),
        (NoThread("all 4 threads are busy (resolve)"), "all 4 threads are busy (resolve)"),
        (SettingsError("X: it is wrong"), "X: it is wrong"),
        (Silent("it answers nothing"), "it answers nothing"),
        (TimeoutError(), "timed out"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "there is no such name"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "its name cannot be looked up now"),
        (aiohttp.ClientConnectorError(KEY, REFUSED), "Connection refused"),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(None, "no name server answers")), "no name server answers"),
        (aiohttp.ClientConnectorCertificateError(KEY, certificate(10)), "its certificate has expired"),
        (certificate(62), "its certificate is for another name"),
        (certificate(7), "its certificate is not trusted here"),
        (tls("WRONG_VERSION_NUMBER"), "it does not speak TLS there"),
        (tls("SOMETHING_NEW"), "TLS cannot be set up with it"),
        (aiohttp.ServerDisconnectedError(), "the connection was closed without an answer"),
        (
            aiohttp.ClientPayloadError("Response payload is not completed: <TransferEncodingError: 400>"),
            "the answer broke off",
        ),
        (aiohttp.ServerTimeoutError("Timeout on reading data"), "timed out"),
        (aiohttp.InvalidURL("x"), "it is not a URL"),
        (aiohttp.ClientResponseError(KEY, (), message="x"), "it does not answer in HTTP"),
        (aiohttp.ClientConnectionError("Connector is closed."), "the connection failed"),
        (http_exceptions.TransferEncodingError("x"), "the answer broke off"),
        (http_exceptions.BadStatusLine("x"), "it does not answer in HTTP"),
        (http.client.BadStatusLine("x"), "it does not answer in HTTP"),
        (http.client.RemoteDisconnected("Remote end closed"), "the connection was closed without an answer"),
        (http.client.IncompleteRead(b"x", 9), "the answer broke off"),
        (asyncio.IncompleteReadError(b"x", 9), "the answer broke off"),
        (h2.exceptions.ProtocolError("x"), "it does not speak HTTP/2"),
        (hpack.exceptions.HPACKDecodingError("x"), "it does not speak HTTP/2"),
        (hyperframe.exceptions.InvalidFrameError("x"), "it does not speak HTTP/2"),
        (from_json(b'{"port": "x"}'), "port: it must be a whole number, not text"),
        (from_json(b'{"port": 1, "weight": []}'), "weight: it must be a number, not a list"),
        (from_json(b'{"port": 1, "tags": [1]}'), "tags[0]: it must be text, not a whole number"),
        (from_json(b'{"port": null}'), "port: it must be a whole number, not nothing (null)"),
        (from_json(b"{}"), "port: it is missing"),
        (from_json(b'{"port": 1, "colour": 1}'), "colour: there is no such field"),
        (from_json(b"[]"), "it must be an object, not a list"),
        (from_json(b"{"), "it is not JSON: it ends too early"),
        (from_json(b"{1}"), "it is not JSON (byte 1)"),
        (of_json_library(), "it is not JSON (line 2, column 2)"),
        (of_text(), "it is not valid text"),
        (MemoryError(), "there is not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), "it is nested too deeply"),
        (KeyError("x"), f"{UNEXPECTED} (KeyError)"),
        (ValueError("Expected `int`, got `str`"), f"{UNEXPECTED} (ValueError)"),
    ],
)
def test_an_error_is_explained_in_words_for_people(error: BaseException, words: str) -> None:
    assert cause_of(error) == words
    assert words.startswith(UNEXPECTED) or LIBRARY_TEXT.search(words) is None


def classes_of(*modules: object) -> list[type[BaseException]]:
    found = [value for module in modules for value in vars(module).values() if isinstance(value, type)]
    return [kind for kind in found if issubclass(kind, Exception) and not issubclass(kind, Warning | ExceptionGroup)]


HTTP_2 = (h2.exceptions, hpack.exceptions, hyperframe.exceptions)
ALL = classes_of(aiohttp, http_exceptions, http.client, asyncio.exceptions, *HTTP_2, msgspec, ssl, socket, builtins)


@pytest.mark.parametrize("kind", dict.fromkeys(ALL), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_no_error_of_a_library_shows_its_own_text(kind: type[BaseException]) -> None:
    error = kind.__new__(kind, "[Errno 5] text of a library")
    error.args = ("[Errno 5] text of a library",)
    said = cause_of(error)
    assert "text of a library" not in said
    assert said == f"{UNEXPECTED} ({kind.__name__})" or LIBRARY_TEXT.search(said) is None
    assert said.strip(" .") == said != ""


def test_every_class_in_the_table_exists() -> None:
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in ALL}
    assert causes._WORDS.keys() - names == set()


@given(st.sampled_from(sorted(errno.errorcode)), st.text())
def test_an_error_number_has_the_systems_words(number: int, text: str) -> None:
    said = cause_of(OSError(number, text))
    assert said in (os.strerror(number), "timed out")


@given(st.text())
def test_any_message_about_a_shape_has_words(message: str) -> None:
    path, words = shape_fault(message)
    assert words
    assert "Expected" not in words
    assert path is not None


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (msgspec.Meta(ge=1), b"0", "it must be a whole number, at least 1"),
        (msgspec.Meta(le=5), b"9", "it must be a whole number, at most 5"),
        (msgspec.Meta(max_length=2), b'"abc"', "it must be text with at most 2 characters"),
        (msgspec.Meta(pattern="^a$"), b'"b"', "it must be text of another form"),
        (msgspec.Meta(min_length=1), b"[]", "it must be a list with at least 1 items"),
    ],
)
def test_a_bound_is_explained(kind: msgspec.Meta, text: bytes, words: str) -> None:
    of: Any = str if text.startswith(b'"') else list if text.startswith(b"[") else int
    assert cause_of(from_json(text, Annotated[of, kind])) == words


def test_a_record_that_cannot_be_read_has_words_whatever_the_error() -> None:
    assert unreadable(from_json(b"{}")) == "port: it is missing"
    assert unreadable(KeyError("instance")) == "a value in it cannot be used"
