"""The settings of what an agent, or a command, proves to a registry who it is with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from registry_core.domain.names import label_of
from registry_core.errors import SettingsError
from registry_core.security.sending import Send, SenderKeys, one_or_two
from registry_core.security.signing_keys import SigningKey, read_key, service_of, shared_key
from registry_core.setting_sources import secret_in
from registry_core.setting_values import Values
from registry_core.settings import Setting, choice
from registry_core.shared_secret import SECRET

KEY_EXAMPLE: Final = "service:billing.5f1d..."


def _send(value: str) -> Send:
    return Send(choice(*Send)(value))


REGISTRY_KEY: Final[Setting[SigningKey | None]] = Setting(
    "REGISTRY_KEY",
    read_key,
    None,
    "a key of its own, as `vertice keys issue` prints it, to sign with instead of REGISTRY_SECRET: the agent of one "
    "service then writes that service alone",
    KEY_EXAMPLE,
    secret=True,
)
REGISTRY_SEND: Final = Setting(
    "REGISTRY_SEND",
    _send,
    Send.AUTO,
    "how requests to registries are authenticated: signed; token (the secret itself, for the last release); auto: "
    "signed, and to a registry of the last release by the secret",
    "signed",
)
REGISTRY_KEY_TABLE: Final[tuple[Setting[Any], ...]] = (SECRET, REGISTRY_KEY, REGISTRY_SEND)


def sender_keys(values: Values, services: Mapping[str, SigningKey] | None = None) -> SenderKeys:
    """Return what a sender has; `services` are the keys of single services, by their labels."""
    secrets: tuple[str, ...] = values[SECRET]
    own = values[REGISTRY_KEY]
    first, other = one_or_two(map(shared_key, secrets)) if own is None else (own, None)
    return SenderKeys(first, services or {}, values[REGISTRY_SEND], other)


def service_keys(given: Iterable[tuple[str, str, str, str]]) -> dict[str, SigningKey]:
    """Return the keys of services by their labels, from (where, name, key, key file) of each. Blocks.

    Raises SettingsError for a key that cannot be read, is none, or is of another service.
    """
    found: dict[str, SigningKey] = {}
    for where, name, text, file in given:
        if text and file:
            raise SettingsError(f"{where}: key and key_file: set only one of them")
        if not text and not file:
            continue
        label = f"{where}: {'key_file' if file else 'key'}"
        try:
            key = read_key(secret_in(file, label) if file else text)
        except ValueError as error:
            raise SettingsError(f"{label}: it cannot be used: {error} (example: {KEY_EXAMPLE})") from None
        owner = service_of(key.id)
        if owner is not None and label_of(owner) != label_of(name):
            raise SettingsError(f"{label}: it is the key of {owner}, not of {name}")
        if found.setdefault(label_of(name), key) != key:
            raise SettingsError(f"{label}: another instance of {name} has another key; a service has one")
    return found
