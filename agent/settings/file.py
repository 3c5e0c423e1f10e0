"""Reads the agent's TOML file: `[agent]` for its settings, one `[[service]]` for each service.

It knows only the file's structure. Values are checked by the same table as those of the environment, so that both
give the same error messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.settings.toml_text import read_toml
from registry_core.errors import SettingsError
from registry_core.security.registry_keys import KEY_EXAMPLE
from registry_core.setting_names import did_you_mean
from registry_core.setting_sources import given_in
from registry_core.setting_values import MASK, Given
from registry_core.settings import RemovedSetting, Setting, shown, switch

_PREFIXES: Final = ("agent_", "vertice_")
_TABLES: Final = ("agent", "service")


class ServiceTable(msgspec.Struct, kw_only=True, frozen=True):
    """One `[[service]]`. An empty field means its default."""

    name: str
    port: int
    host: str = ""
    health_endpoint: str = "/health"
    protocol: str = "http"
    version: str = ""
    weight: int = 1
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = {}
    zone: str = ""
    instance_id: str = ""
    key: str = ""  # parsed by registry_keys.py
    key_file: str = ""
    check: str | dict[str, Any] | list[str | dict[str, Any]] = ""  # parsed by checks.py


class ConfigFile(msgspec.Struct, frozen=True):
    """The content of a file: its settings, the names of removed ones that it sets, and its services."""

    settings: Given = {}
    removed: tuple[RemovedSetting, ...] = ()
    services: tuple[ServiceTable, ...] = ()


class KeyKind(msgspec.Struct, frozen=True):
    """What a key of a service holds: its description, the test of a value, and an example."""

    words: str
    fits: Callable[[object], bool]
    example: str


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_check(value: object) -> bool:
    return isinstance(value, str | dict) or (
        isinstance(value, list) and all(isinstance(item, str | dict) for item in value)
    )


_KINDS: Final[dict[str, KeyKind]] = {
    "name": KeyKind("text", _is_text, '"billing"'),
    "port": KeyKind("a whole number", _is_number, "8034"),
    "host": KeyKind("text", _is_text, '"10.0.0.7"'),
    "health_endpoint": KeyKind("text", _is_text, '"/health"'),
    "protocol": KeyKind("text", _is_text, '"http"'),
    "version": KeyKind("text", _is_text, '"1.4.2"'),
    "weight": KeyKind("a whole number", _is_number, "10"),
    "tags": KeyKind("a list of texts", _are_texts, '["blue"]'),
    "metadata": KeyKind("a table", lambda value: isinstance(value, dict), '{team = "osint"}'),
    "zone": KeyKind("text", _is_text, '"eu-1a"'),
    "instance_id": KeyKind("text", _is_text, '"billing-1"'),
    "key": KeyKind("text", _is_text, f'"{KEY_EXAMPLE}"'),
    "key_file": KeyKind("text", _is_text, '"/run/secrets/billing"'),
    "check": KeyKind("a kind of check, a table, or a list of them", _is_check, '"tcp"'),
}
_REQUIRED: Final = ("name", "port")


def file_key(name: str) -> str:
    """Return the key in `[agent]` for the environment name of a setting."""
    return name.removeprefix("AGENT_").removeprefix("VERTICE_").lower()


def read_config_file(path: Path, table: Iterable[Setting[Any]], removed: Iterable[RemovedSetting] = ()) -> ConfigFile:
    """Return the content of the file at `path`; `table` has the settings that `[agent]` may set.

    Raises SettingsError, in one line that names the file, when it cannot be read or has an unknown key.
    """
    tables = read_toml(path)
    by_key = {file_key(name): (setting, name) for setting in table for name in setting.spellings}
    gone = {file_key(setting.name): setting for setting in removed}
    for key, value in tables.items():
        if key not in _TABLES:
            where = f"[{key}]" if isinstance(value, dict) else key
            hint = "; settings stand below [agent]" if _own_key(key, by_key) in by_key else ""
            raise SettingsError(f"{path}: {where}: there are only [agent] and [[service]] tables{hint}")
    found = tables.get("agent", {})
    if not isinstance(found, dict):
        raise SettingsError(f"{path}: agent: it must be a table, written [agent]")
    texts: dict[str, str] = {}
    for key, value in found.items():
        if key not in by_key and key not in gone:
            raise SettingsError(f"{path}: [agent] {key}: there is no such key{_guess(key, by_key)}")
        setting, name = by_key.get(key, (None, key))
        texts[name] = _text(f"{path}: [agent] {key}", value, setting)
    return ConfigFile(
        given_in(table, texts, source=str(path), label=lambda name: f"{path}: [agent] {file_key(name)}"),
        tuple(setting for key, setting in gone.items() if key in found),
        tuple(_services(path, tables.get("service", []))),
    )


def _own_key(key: str, by_key: Iterable[str]) -> str:
    """Return the key that a name of the environment stands for: `AGENT_ZONE` is `zone` in a file."""
    lower = key.lower().replace("-", "_")
    return next((short for prefix in _PREFIXES if (short := lower.removeprefix(prefix)) in by_key), lower)


def _guess(key: str, by_key: Iterable[str]) -> str:
    own = _own_key(key, by_key)
    return f" (did you mean {own}?)" if own in by_key else did_you_mean(own, by_key)


def _text(where: str, value: object, setting: Setting[Any] | None) -> str:
    match value:
        case bool():
            if setting is not None and setting.read is not switch:
                raise SettingsError(f"{where}: it cannot be true or false; write text or a number")
            return "on" if value else "off"
        case str() | int() | float():
            return str(value)
        case list() if all(isinstance(item, str) for item in value):
            return ",".join(value)
        case _:
            raise SettingsError(f"{where}: it must be text, a number or a list of texts")


def _services(path: Path, tables: object) -> Iterator[ServiceTable]:
    if not isinstance(tables, list):
        raise SettingsError(f"{path}: service: each one must be written [[service]]")
    for number, table in enumerate(tables, 1):
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: [[service]] {number}: each one must be a table, written [[service]]")
        yield _service(f"{path}: [[service]] {number} ({str(table.get('name', '?'))[:80]})", table)


def _service(where: str, table: dict[str, Any]) -> ServiceTable:
    for key, value in table.items():
        kind = _KINDS.get(key)
        if kind is None:
            raise SettingsError(f"{where}: {key}: there is no such key{did_you_mean(key.lower(), _KINDS)}")
        if not kind.fits(value):
            raise SettingsError(
                f"{where}: {key}: {MASK if key == 'key' else shown(value)} cannot be used: it must be {kind.words} "
                f"(example: {kind.example})"
            )
    for key in _REQUIRED:
        if key not in table:
            raise SettingsError(f"{where}: {key}: it is missing (example: {_KINDS[key].example})")
    return ServiceTable(**{**table, "tags": tuple(table.get("tags", ()))})
