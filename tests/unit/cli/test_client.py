"""Which server the commands query, and how they read the answer."""

from __future__ import annotations

import argparse
import http.client
from pathlib import Path

import pytest

from agent.settings.table import DNS_ZONE
from cli import client
from cli.client import HttpResponse, Unreachable
from cli.commands import resolve
from registry_core.errors import SettingsError
from registry_core.security.sending import SenderKeys
from registry_core.security.signing_keys import shared_key


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
        ("far:9", {}, "http://far:9"),
        (":9", {}, "http://127.0.0.1:9"),
        ("0.0.0.0:9/", {}, "http://127.0.0.1:9"),
        ("[fd00::1]:9", {}, "http://[fd00::1]:9"),
        ("HTTPS://far.example./v1/", {}, "HTTPS://far.example./v1"),
    ],
)
def test_the_agents_url_comes_from_the_flag_or_the_setting(
    flag: str | None, environment: dict[str, str], url: str
) -> None:
    assert client.agent_url(argparse.Namespace(agent=flag), environment) == url


@pytest.mark.parametrize(
    ("flag", "environment", "url"),
    [
        (None, {}, "http://127.0.0.1:8888"),
        (None, {"REGISTRY_URL": "http://a:1, http://b:2"}, "http://a:1"),
        (None, {"REGISTRY_URL": "srv:_r._tcp.example,srv+https:_r._tcp.example,https://b:2"}, "https://b:2"),
        ("far:9", {"REGISTRY_URL": "http://a:1"}, "http://far:9"),
        ("https://far", {"REGISTRY_URL": "http://a:1"}, "https://far"),
    ],
)
def test_the_registrys_url_comes_from_the_flag_or_the_setting(
    flag: str | None, environment: dict[str, str], url: str
) -> None:
    assert client.registry_url(argparse.Namespace(registry=flag), environment) == url


def test_an_unusable_address_is_named() -> None:
    with pytest.raises(SettingsError, match=r"AGENT_HTTP_LISTEN: 'far' cannot be used"):
        client.agent_url(argparse.Namespace(agent=None), {"AGENT_HTTP_LISTEN": "far"})
    with pytest.raises(SettingsError, match=r"REGISTRY_URL: 'far' cannot be used.*8888"):
        client.registry_url(argparse.Namespace(registry=None), {"REGISTRY_URL": "far"})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("far", "it is neither a URL nor host:port"),
        ("", "it is neither a URL nor host:port"),
        ("far:0", "it is not a URL such as http://host:port"),
        ("far:99999", "it is neither a URL nor host:port"),
        ("ftp://far", "it is not a URL such as http://host:port"),
        ("fd00::1:9", "it is neither a URL nor host:port"),
        ("http://a..b:9", "it has no valid host"),
        (f"http://{'a' * 64}:9", "it has no valid host"),
        ("http://a b:9", "it has characters that no address has"),
        ("http://fär:9", "it has characters that no address has"),
    ],
)
def test_a_wrong_address_is_refused_with_the_reason(given: str, why: str) -> None:
    for option, read in (("agent", client.agent_url), ("registry", client.registry_url)):
        with pytest.raises(SettingsError) as refused:
            read(argparse.Namespace(**{option: given}), {})
        assert str(refused.value).startswith(f"--{option}: {given!r} cannot be used: {why}")


def test_a_password_in_an_address_is_not_shown() -> None:
    for given in ("http://me:s3cret@far:9", "me:s3cret@far:9"):
        with pytest.raises(SettingsError) as refused:
            client.agent_url(argparse.Namespace(agent=given), {})
        assert "s3cret" not in str(refused.value)


def test_an_https_url_uses_tls() -> None:
    assert isinstance(client.connect("https://far"), http.client.HTTPSConnection)
    assert not isinstance(client.connect("http://far"), http.client.HTTPSConnection)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": "NotFound", "message": "no such\\n service"}', "no such service"),
        (b"bad gateway", "bad gateway"),
        (b"[1]", "[1]"),
        (b"", "HTTP status 502: is this the address of an agent or a registry?"),
        (b"<!DOCTYPE html><html>...", "HTTP status 502: is this the address of an agent or a registry?"),
        (b'{"message": "a\\u001b[2J"}', "a\\x1b[2J"),
    ],
)
def test_the_message_of_an_error_is_one_line(body: bytes, message: str) -> None:
    assert answer(body, 502).message == message


def test_a_path_that_is_not_known_is_a_wrong_address_and_an_unknown_service_is_not() -> None:
    path = answer(b'{"error": "NotFound", "field": null, "message": "there is no such path; there are /a, /b"}', 404)
    assert path.message == client.WRONG_PART
    service = answer(b'{"error": "NotFound", "field": "name", "message": "no service x is registered"}', 404)
    assert service.message == "no service x is registered"
    assert answer(b"[1]", 404).message == "[1]"


def test_an_answer_that_is_not_json_is_reported() -> None:
    with pytest.raises(Unreachable, match="not JSON"):
        answer(b"<html>").json()


def test_an_old_answer_is_reported_only_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    client.warn_of_age(answer(b"", X_Cache="fresh", Age="0"))
    client.warn_of_age(answer(b""))
    assert capsys.readouterr() == ("", "")
    client.warn_of_age(answer(b"", X_Cache="stale", Age="40"))
    assert capsys.readouterr() == (
        "",
        "vertice: stale: this is the state as of 40 s ago; the registry cannot be reached\n",
    )


def test_the_secret_is_sent_under_each_of_its_names(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n", encoding="utf-8")
    for environment in (
        {"REGISTRY_SECRET": "s3cret"},
        {"VERTICE_REGISTRY_TOKEN": "s3cret"},
        {"REGISTRY_SECRET_FILE": str(file)},
        {"VERTICE_REGISTRY_TOKEN_FILE": str(file), "REGISTRY_SECRET": "s3cret"},
    ):
        assert client.signer_in(environment).keys == SenderKeys(shared_key("s3cret"))
    two = client.signer_in({"REGISTRY_SECRET": "s3cret,old"})
    assert two.keys == SenderKeys(shared_key("s3cret"), other=shared_key("old"))
    assert client.signer_in({"SERVICE_NAME": "web"}).keys == SenderKeys()
    with pytest.raises(SettingsError, match="are names of one setting and differ"):
        client.signer_in({"REGISTRY_SECRET": "one", "VERTICE_REGISTRY_TOKEN": "other"})


def test_a_misspelt_setting_of_a_command_is_found() -> None:
    agent, registry = argparse.Namespace(agent=None), argparse.Namespace(registry=None)
    with pytest.raises(SettingsError, match=r"AGENT_HTTP_LISTN: .*did you mean AGENT_HTTP_LISTEN\?"):
        client.agent_url(agent, {"AGENT_HTTP_LISTN": ":1"})
    with pytest.raises(SettingsError, match=r"REGISTRY_URLS: .*did you mean REGISTRY_URL\?"):
        client.registry_url(registry, {"REGISTRY_URLS": "http://r"})
    with pytest.raises(SettingsError, match=r"VERTICE_REGISTRY_TOKN: .*did you mean VERTICE_REGISTRY_TOKEN\?"):
        client.signer_in({"VERTICE_REGISTRY_TOKN": "x"})
    assert client.agent_url(agent, {"AGENT_HTTP_SERVICE_HOST": "x", "AGENT_NAME": "y"}) == client.AGENT_URL


def test_an_answer_that_may_lack_something_is_reported_only_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    client.warn_of_age(answer(b"", X_Cache="partial", Age="0"))
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "vertice: partial: the registry does not know everything yet; there may be more\n",
    )


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, b'{"error": "NotFound", "field": "service_name"}', 3),
        (404, b'{"error": "NotFound", "message": "there is no such path"}', 1),
        (404, b"<html>", 1),
        (400, b"", 2),
        (503, b"", 1),
        (500, b"", 1),
    ],
)
def test_an_error_of_the_agent_has_its_exit_code(status: int, body: bytes, code: int) -> None:
    assert resolve.exit_code(answer(body, status)) == code


@pytest.mark.parametrize(
    ("given", "environment", "name"),
    [
        ("Auth", {}, "auth"),
        ("auth.vertice.internal.", {}, "auth"),
        ("auth.fleet.example", {"AGENT_DNS_ZONE": "Fleet.example."}, "auth"),
        ("auth.vertice.internal", {"AGENT_DNS_ZONE": "fleet.example"}, "auth.vertice.internal"),
    ],
)
def test_a_name_may_be_written_as_in_dns(given: str, environment: dict[str, str], name: str) -> None:
    assert client.service_name(given, environment) == name
    assert DNS_ZONE.default == client.DNS_ZONE
