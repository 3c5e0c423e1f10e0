"""The settings of who may do what at a replica: reading, the plain forms of credentials, and the files of secrets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from registry_core.causes import cause_of
from registry_core.errors import SettingsError
from registry_core.security.issued_keys import MAX_FILE_BYTES, IssuedKey, UnusableSecrets, read_key_file
from registry_core.security.keyring import Credentials
from registry_core.setting_sources import secret_in
from registry_core.setting_values import Values
from registry_core.settings import Setting, choice, text
from registry_core.shared_secret import SECRET, one_or_two_secrets

MIN_READ_KEY_LENGTH: Final = 16


class PlainForms(StrEnum):
    """What becomes of a secret that is sent as it is over plain HTTP, from another machine."""

    WARN = "warn"  # accepted, counted, logged, and shown by /health
    ON = "on"  # accepted
    OFF = "off"  # refused


READ: Final = Setting(
    "REGISTRY_READ",
    choice("open", "key"),
    "open",
    "`key`: lookups, watches, /health and /metrics need a credential as well; anybody may still ask /live and /ready",
    "key",
)
READ_KEY: Final[Setting[tuple[str, ...]]] = Setting(
    "REGISTRY_READ_KEY",
    one_or_two_secrets,
    (),
    "the key for reading alone, as `Authorization: Bearer`, for Prometheus and scripts; two, comma-separated, while it "
    "is being changed",
    "a-long-random-word-of-its-own",
    secret=True,
)
PLAIN_AUTH: Final = Setting(
    "REGISTRY_PLAIN_AUTH",
    choice(*PlainForms),
    PlainForms.WARN.value,
    "what becomes of a secret that another machine sends as it is (X-Registry-Token, X-Registry-API-Key, Bearer) over "
    "plain HTTP: `off` refuses it, `on` accepts it, `warn` accepts it and says so. Signed requests and TLS need "
    "neither. The next release has `off` as its default",
    "off",
)
KEYS_FILE: Final = Setting(
    "REGISTRY_KEYS_FILE",
    text,
    "",
    "the file of issued keys, which `vertice keys` writes; it is read again when it changes",
    "/etc/vertice/keys.json",
)
ACCESS_SETTINGS: Final[tuple[Setting[Any], ...]] = (READ, READ_KEY, PLAIN_AUTH, KEYS_FILE)


class AccessSettings(msgspec.Struct, frozen=True):
    """The settings of rights, apart from the secret of the fleet."""

    reads_are_open: bool = True
    plain: PlainForms = PlainForms.WARN
    read_keys: tuple[str, ...] = ()
    issued: tuple[IssuedKey, ...] = ()
    # Where secrets stand in files, which are read again when they change; "" for none.
    secret_file: str = ""
    read_key_file: str = ""
    keys_file: str = ""
    least_secret: int = 1  # characters of the secret of the fleet

    def __repr__(self) -> str:
        return f"AccessSettings(reads_are_open={self.reads_are_open}, plain={self.plain.value!r})"


def access_settings(values: Values) -> AccessSettings:
    """Return the settings in `values`, with the keys of the file. Raises SettingsError. Blocks while it reads."""
    path = values[KEYS_FILE].strip()
    try:
        issued = keys_in(path) if path else ()
    except UnusableSecrets as error:
        raise SettingsError(f"{values.label(KEYS_FILE.name)}: {path}: {error}") from None
    reads_are_open = values[READ] == "open"
    if not reads_are_open and not (values[SECRET] or path):
        raise SettingsError(
            f"{READ.name}: without {SECRET.name} or {KEYS_FILE.name} anybody may write, so reading cannot need a key"
        )
    if any(len(key) < MIN_READ_KEY_LENGTH for key in values[READ_KEY]):
        raise SettingsError(
            f"{values.label(READ_KEY.name)}: a read key has {MIN_READ_KEY_LENGTH} or more characters (example: "
            "the output of `openssl rand -hex 24`)"
        )
    return AccessSettings(
        reads_are_open=reads_are_open,
        plain=PlainForms(values[PLAIN_AUTH]),
        read_keys=values[READ_KEY],
        issued=issued,
        secret_file=_file_of(SECRET, values),
        read_key_file=_file_of(READ_KEY, values),
        keys_file=path,
    )


def credentials_now(access: AccessSettings, before: Credentials) -> Credentials:
    """Return what the files hold now, and for the rest what was valid before. Raises UnusableSecrets. Blocks."""
    return Credentials(
        shared=_secrets_in(access.secret_file, access.least_secret) if access.secret_file else before.shared,
        read_keys=_secrets_in(access.read_key_file, MIN_READ_KEY_LENGTH) if access.read_key_file else before.read_keys,
        issued=keys_in(access.keys_file) if access.keys_file else before.issued,
    )


def keys_in(path: str) -> tuple[IssuedKey, ...]:
    """Return the keys in the file at `path`. Raises UnusableSecrets, with the reason. Blocks."""
    try:
        with Path(path).open("rb") as file:
            body = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnusableSecrets(f"it cannot be read: {cause_of(error)}") from None
    return read_key_file(body)


def _secrets_in(path: str, least: int) -> tuple[str, ...]:
    try:
        found = one_or_two_secrets(secret_in(path, "the file"))
    except SettingsError as error:
        raise UnusableSecrets(str(error)) from None
    except ValueError as error:
        raise UnusableSecrets(f"{path}: {error}") from None
    if any(len(one) < least for one in found):
        raise UnusableSecrets(f"{path}: a secret in it has fewer than {least} characters")
    return found


def _file_of(setting: Setting[Any], values: Values) -> str:
    return next((one.secret_file for one in values.given(setting) if one.secret_file), "")
