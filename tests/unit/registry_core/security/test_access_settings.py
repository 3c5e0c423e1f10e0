"""The settings of who may do what: what goes together, and that no text of them shows a secret."""

from __future__ import annotations

import traceback
from pathlib import Path

import msgspec
import pytest

from registry_core.errors import SettingsError
from registry_core.replica_settings import ReplicaSettings, replica_settings
from registry_core.security.access_settings import PlainForms, credentials_now
from registry_core.security.issued_keys import UnusableSecrets
from registry_core.security.keyring import Credentials
from registry_core.settings import SecretText

SECRET = "q7-never-shown-z9"
READ_KEY = "r8-never-shown-either"


def settings(**environment: str) -> ReplicaSettings:
    return replica_settings({"REGISTRY_SECRET": SECRET, **environment})


def test_reading_is_open_and_plain_forms_are_accepted_with_a_warning_by_default() -> None:
    access = settings().access
    assert (access.reads_are_open, access.plain) == (True, PlainForms.WARN)


def test_reading_with_a_key() -> None:
    access = settings(REGISTRY_READ="key", REGISTRY_READ_KEY=f"{READ_KEY},{READ_KEY}2").access
    assert not access.reads_are_open
    assert access.read_keys == (READ_KEY, f"{READ_KEY}2")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"REGISTRY_READ": "key", "REGISTRY_SECRET": ""}, "anybody may write, so reading cannot need a key"),
        ({"REGISTRY_READ": "key", "REGISTRY_AUTH": "off"}, "REGISTRY_AUTH=off lets anybody write"),
        ({"REGISTRY_READ": "closed"}, "not one of open, key"),
        ({"REGISTRY_READ_KEY": "short"}, "16 or more characters"),
        ({"REGISTRY_READ_KEY": "a,b,c"}, "one or 2"),
        ({"REGISTRY_PLAIN_AUTH": "maybe"}, "not one of warn, on, off"),
        ({"REGISTRY_KEYS_FILE": "/nowhere/keys.json"}, "/nowhere/keys.json: it cannot be read: "),
    ],
)
def test_what_does_not_go_together_ends_the_start(environment: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings(**environment)
    assert says in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_file_of_keys_stands_in_for_a_secret_beyond_loopback(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"version":1,"keys":[]}', encoding="utf-8")
    assert replica_settings({"REGISTRY_LISTEN": ":8888", "REGISTRY_KEYS_FILE": str(keys)}).access.keys_file == str(keys)
    with pytest.raises(SettingsError, match="needs a secret"):
        replica_settings({"REGISTRY_LISTEN": ":8888"})


def test_no_text_of_the_settings_shows_a_secret() -> None:
    made = settings(REGISTRY_READ_KEY=READ_KEY, REGISTRY_STORE=f"redis://u:{SECRET}@127.0.0.1:6379")
    for text in (repr(made), str(made), f"{made}", repr(made.access), repr(made.secrets), repr(made.redis)):
        assert SECRET not in text
        assert READ_KEY not in text
    copied = msgspec.structs.replace(made, zone="z")
    assert SECRET not in repr(copied)


def test_a_traceback_with_local_variables_shows_none() -> None:
    made = settings()
    secret = made.secrets[0]
    try:
        int(f"not a number, nor {secret!r}")
    except ValueError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = "".join(shown.format())
    assert "secret = '***'" in text
    assert SECRET not in text.replace(f'SECRET = "{SECRET}"', "")
    assert secret == SECRET


def test_a_secret_is_still_a_text() -> None:
    secret = SecretText("abc")
    assert (f"{secret}", secret.encode(), hash(secret) == hash("abc"), repr([secret])) == (
        "abc",
        b"abc",
        True,
        "['***']",
    )


def test_files_are_read_again_and_the_rest_stays(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("the-second", encoding="utf-8")
    access = msgspec.structs.replace(settings().access, secret_file=str(file), least_secret=6)
    before = Credentials(("the-first",), (READ_KEY,))
    assert credentials_now(access, before) == Credentials(("the-second",), (READ_KEY,))
    file.write_text("short", encoding="utf-8")
    with pytest.raises(UnusableSecrets, match="fewer than 6 characters"):
        credentials_now(access, before)
