"""Settings: what each reader accepts, and the one line about an invalid one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from registry_core import settings
from registry_core.errors import SettingsError
from registry_core.setting_sources import read_settings, removed_among
from registry_core.setting_values import Values
from registry_core.settings import Listen, RemovedSetting, Setting, shown_default

PORT = Setting("T_PORT", settings.integer(1, 65535), 8034, "the port", "8034")
WAIT = Setting("T_WAIT", settings.positive_seconds, 30.0, "how long to wait", "2.5")
NAMES: Setting[tuple[str, ...]] = Setting("T_NAMES", settings.items(settings.text), ("a", "b"), "names", "a,b")
TOKEN = Setting("T_TOKEN", settings.choice("x"), "", "the token", "x", secret=True)
TABLE: tuple[Setting[Any], ...] = (PORT, WAIT, NAMES, TOKEN)
REMOVED = (RemovedSetting("T_PROCESSES", "one is enough"), RemovedSetting("T_THREADS", "there are none"))


def read(environment: dict[str, str]) -> Values:
    return read_settings(TABLE, environment, prefixes=("T_",), known={"T_OF_ANOTHER"})


def test_an_unset_or_blank_setting_has_its_default() -> None:
    for environment in ({}, {"T_PORT": " ", "T_OF_ANOTHER": "1", "HOME": "/"}):
        values = read(environment)
        assert (values[PORT], values[WAIT], values[NAMES], values[TOKEN]) == (8034, 30.0, ("a", "b"), "")


def test_a_set_value_is_read() -> None:
    values = read({"T_PORT": "80", "T_WAIT": "500ms", "T_NAMES": " c , ,d"})
    assert (values[PORT], values[WAIT], values[NAMES]) == (80, 0.5, ("c", "d"))


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"T_PORT": "x"}, "T_PORT: 'x' cannot be used: it is not a whole number (example: 8034)"),
        ({"T_PORT": "0"}, "T_PORT: '0' cannot be used: it is not between 1 and 65535 (example: 8034)"),
        ({"T_PORT": "9" * 30}, f"T_PORT: '{'9' * 30}' cannot be used: it is not a whole number (example: 8034)"),
        ({"T_WAIT": "0"}, "T_WAIT: '0' cannot be used: it must be above zero (example: 2.5)"),
        ({"T_WAIT": "-1"}, "T_WAIT: '-1' cannot be used: it is not a duration (example: 2.5)"),
        ({"T_WAIT": "nan"}, "T_WAIT: 'nan' cannot be used: it is not a duration (example: 2.5)"),
        ({"T_POTR": "1"}, "T_POTR: there is no such setting (did you mean T_PORT?)"),
        ({"T_PORTS": "1"}, "T_PORTS: there is no such setting (did you mean T_PORT?)"),
        ({"t-port": "1"}, "t-port: there is no such setting (did you mean T_PORT?)"),
        ({"T_TOKEN": "hush"}, "T_TOKEN: the value cannot be used: it is not one of x (example: x)"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(environment: dict[str, str], line: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read(environment)
    assert str(refusal.value) == line


URLS: Setting[tuple[str, ...]] = Setting(
    "T_URLS", settings.items(settings.http_url), (), "the registries", "http://registry:8888"
)


@pytest.mark.parametrize(
    "url", ["http://user:pa55word@r:8888", "http://pa55word@r", "http://a:pa55word@r/?x=1", "//x:pa55word@"]
)
def test_a_url_has_no_password_and_one_that_was_given_is_not_shown(url: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read_settings((URLS,), {"T_URLS": f"http://fine:1,{url}"})
    assert "pa55word" not in str(refusal.value)
    assert str(refusal.value).startswith("T_URLS: 'http://fine:1,")


@pytest.mark.parametrize("text", ["hush", " hush\n", "hush\r\n", "\thush"])
def test_what_surrounds_a_secret_is_not_part_of_it(text: str) -> None:
    assert settings.secret(text) == "hush"


@pytest.mark.parametrize("text", ["hu sh", "hu\nsh", "hu\0sh", "h\u00fcsh", "hu,sh", "\x7f"])
def test_a_secret_that_no_header_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII"):
        settings.secret(text)


def test_a_removed_setting_is_accepted_and_can_be_named() -> None:
    given = {"T_PORT": "80", "T_PROCESSES": "no number", "T_THREADS": " "}
    assert read_settings(TABLE, given, prefixes=("T_",), removed=REMOVED)[PORT] == 80
    assert removed_among(given, REMOVED) == REMOVED[:1]
    assert read_settings(TABLE, given, prefixes=("T_",), removed=REMOVED).unknown == ()


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        (settings.seconds, "0", 0.0),
        (settings.seconds, "1.5h", 5400.0),
        (settings.seconds, "2 m", 120.0),
        (settings.choice("on", "off"), "ON", "on"),
        *((settings.switch, word, True) for word in ("on", "ON", "yes", "Yes", "y", "true", "TRUE", "1", " on\n")),
        *((settings.switch, word, False) for word in ("off", "no", "n", "False", "0", "disabled", "\tOFF ")),
        (settings.listen, "127.0.0.1:8888", Listen("127.0.0.1", 8888)),
        (settings.listen, ":53", Listen("::", 53)),
        (settings.listen, "[::ffff:127.0.0.1]:53", Listen("127.0.0.1", 53)),
        (settings.listen, "[::1]:0", Listen("::1", 0)),
        (settings.http_url, "http://r:8888/", "http://r:8888"),
        (settings.json_object, '{"a": [1]}', {"a": [1]}),
    ],
)
def test_a_reader_accepts(reader: Callable[[str], object], text: str, value: object) -> None:
    assert reader(text) == value


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (settings.text, "  "),
        (settings.seconds, "1d"),
        (settings.choice("on", "off"), "yes"),
        (settings.switch, "htpasswd"),
        (settings.switch, "2"),
        (settings.listen, "8888"),
        (settings.listen, "a:b"),
        (settings.listen, "a:65536"),
        (settings.listen, "::1:53"),
        (settings.http_url, "r:8888"),
        (settings.http_url, "ftp://r"),
        (settings.http_url, "http://r:99999"),
        (settings.http_url, "http://r/?a=b"),
        (settings.json_object, "[]"),
        (settings.json_object, "{"),
    ],
)
def test_a_reader_refuses(reader: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"it |IPv6|is not a port"):
        reader(text)


def test_only_loopback_is_loopback() -> None:
    assert [Listen(h, 1).is_loopback for h in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [Listen(h, 1).is_loopback for h in ("0.0.0.0", "10.0.0.7", "::", "example")] == [False] * 4
    assert str(Listen("::1", 53)) == "[::1]:53"


def test_a_default_is_shown_as_a_user_would_write_it() -> None:
    assert [shown_default(s) for s in TABLE] == ["8034", "30 s", "a,b", "none"]
