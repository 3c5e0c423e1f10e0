"""Whom the commands ask, and what they make of the answer."""

from __future__ import annotations

import argparse
import http.client

import pytest

from cli import client
from cli.client import HttpResponse, Unreachable
from cli.commands import resolve
from registry_core.errors import SettingsError


def answer(body: bytes, status: int = 200, **headers: str) -> HttpResponse:
    message = http.client.HTTPMessage()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return HttpResponse(status, message, body)


@pytest.mark.parametrize(
    ("flag", "environment", "url"),
    [
        (None, {}, "http://127.0.0.1:8880"),
        (None, {"AGENT_HTTP_LISTEN": " "}, "http://127.0.0.1:8880"),
        (None, {"AGENT_HTTP_LISTEN": "127.0.0.1:9"}, "http://127.0.0.1:9"),
        (None, {"AGENT_HTTP_LISTEN": ":9"}, "http://127.0.0.1:9"),
        (None, {"AGENT_HTTP_LISTEN": "[::]:9"}, "http://127.0.0.1:9"),
        (None, {"AGENT_HTTP_LISTEN": "[fd00::1]:9"}, "http://[fd00::1]:9"),
        ("http://far:9/", {"AGENT_HTTP_LISTEN": "127.0.0.1:8"}, "http://far:9"),
    ],
)
def test_the_agent_is_where_the_flag_or_the_setting_says(
    flag: str | None, environment: dict[str, str], url: str
) -> None:
    assert client.agent_url(argparse.Namespace(agent=flag), environment) == url


@pytest.mark.parametrize(
    ("flag", "environment", "url"),
    [
        (None, {}, "http://127.0.0.1:8888"),
        (None, {"REGISTRY_URL": "http://a:1, http://b:2"}, "http://a:1"),
        ("https://far", {"REGISTRY_URL": "http://a:1"}, "https://far"),
    ],
)
def test_the_registry_is_where_the_flag_or_the_setting_says(
    flag: str | None, environment: dict[str, str], url: str
) -> None:
    assert client.registry_url(argparse.Namespace(registry=flag), environment) == url


def test_an_address_that_cannot_be_used_is_named() -> None:
    with pytest.raises(SettingsError, match=r"--agent: 'far:9' cannot be used"):
        client.agent_url(argparse.Namespace(agent="far:9"), {})
    with pytest.raises(SettingsError, match=r"AGENT_HTTP_LISTEN: 'far' cannot be used"):
        client.agent_url(argparse.Namespace(agent=None), {"AGENT_HTTP_LISTEN": "far"})
    with pytest.raises(SettingsError, match=r"REGISTRY_URL: 'far' cannot be used"):
        client.registry_url(argparse.Namespace(registry=None), {"REGISTRY_URL": "far"})


def test_a_url_with_https_is_asked_over_tls() -> None:
    assert isinstance(client.connect("https://far"), http.client.HTTPSConnection)
    assert not isinstance(client.connect("http://far"), http.client.HTTPSConnection)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "NotFound", "message": "no such\\n service"}', "no such service"),
        (b"bad gateway", "bad gateway"),
        (b"[1]", "[1]"),
        (b"", "HTTP status 502"),
    ],
)
def test_the_message_of_an_error_is_one_line(body: bytes, message: str) -> None:
    assert answer(body, 502).message == message


def test_what_is_no_json_is_said_to_be_none() -> None:
    with pytest.raises(Unreachable, match="not JSON"):
        answer(b"<html>").json()


def test_an_old_answer_says_so_on_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    client.warn_of_age(answer(b"", X_Cache="fresh", Age="0"))
    client.warn_of_age(answer(b""))
    assert capsys.readouterr() == ("", "")
    client.warn_of_age(answer(b"", X_Cache="stale", Age="40"))
    assert capsys.readouterr() == (
        "",
        "vertice: stale: this is the state of 40 s ago; the registry cannot be reached\n",
    )


def test_why_a_connection_failed_is_a_few_words() -> None:
    assert client.reason(TimeoutError()) == "timed out"
    assert client.reason(ConnectionRefusedError(111, "Connection refused")) == "Connection refused"
    assert client.reason(http.client.BadStatusLine("x")) == "BadStatusLine x"


@pytest.mark.parametrize(("status", "code"), [(404, 3), (400, 2), (503, 1), (500, 1)])
def test_an_error_of_the_agent_has_its_exit_code(status: int, code: int) -> None:
    assert resolve.exit_code(answer(b"", status)) == code
