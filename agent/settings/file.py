"""Reads the agent's TOML file: `[agent]` for its settings, one `[[service]]` for each service.

It knows only the file's structure. Values are checked by the same table as those of the environment, so that both
give the same error messages.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from registry_core.errors import SettingsError

MAX_FILE_BYTES: Final = 16 * 1024 * 1024


class ServiceTable(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
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
    check: str | dict[str, Any] | list[str | dict[str, Any]] = ""  # parsed by checks.py


class ConfigFile(msgspec.Struct, frozen=True):
    """The content of a file: settings as text, by environment name, and services."""

    settings: dict[str, str] = {}
    services: tuple[ServiceTable, ...] = ()


def file_key(name: str) -> str:
    """Return the key in `[agent]` for the environment name of a setting."""
    return name.removeprefix("AGENT_").removeprefix("VERTICE_").lower()


def read_config_file(path: Path, names: Iterable[str]) -> ConfigFile:
    """Return the content of the file at `path`; `names` are the settings that `[agent]` may set.

    Raises SettingsError, in one line that names the file, when it cannot be read or has an unknown key.
    """
    try:
        with path.open("rb") as file:
            body = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    if len(body) > MAX_FILE_BYTES:
        raise SettingsError(f"{path}: it has more than {MAX_FILE_BYTES} bytes")
    try:
        tables = tomllib.loads(body.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: it is not TOML: {error}") from None
    for key in tables:
        if key not in ("agent", "service"):
            raise SettingsError(f"{path}: [{key}]: there are only [agent] and [[service]] tables")
    return ConfigFile(
        _settings(path, tables.get("agent", {}), {file_key(name): name for name in names}),
        tuple(_services(path, tables.get("service", []))),
    )


def _settings(path: Path, table: object, by_key: dict[str, str]) -> dict[str, str]:
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: agent: it must be a table, written [agent]")
    found: dict[str, str] = {}
    for key, value in table.items():
        if key not in by_key:
            raise SettingsError(f"{path}: [agent] {key}: there is no such key{_nearest(key, by_key)}")
        found[by_key[key]] = _text(f"{path}: [agent] {key}", value)
    return found


def _text(where: str, value: object) -> str:
    match value:
        case bool():
            raise SettingsError(f"{where}: it cannot be true or false; write text or a number")
        case str() | int() | float():
            return str(value)
        case list() if all(isinstance(item, str) for item in value):
            return ",".join(value)
        case _:
            raise SettingsError(f"{where}: it must be text, a number or a list of texts")


def _services(path: Path, tables: object) -> Iterable[ServiceTable]:
    if not isinstance(tables, list):
        raise SettingsError(f"{path}: service: each one must be written [[service]]")
    for number, table in enumerate(tables, 1):
        name = table.get("name", "?") if isinstance(table, dict) else "?"
        if isinstance(table, dict):
            for key in table:
                if key not in ServiceTable.__struct_fields__:
                    near = _nearest(key, ServiceTable.__struct_fields__)
                    raise SettingsError(f"{path}: [[service]] {number} ({name}): {key}: there is no such key{near}")
        try:
            yield msgspec.convert(table, ServiceTable)
        except msgspec.ValidationError as error:
            said = str(error).replace(" - at `$.", " - at `").replace("Object missing", "missing")
            raise SettingsError(f"{path}: [[service]] {number} ({name}): {said}") from None


def _nearest(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.7)
    return f" (did you mean {near[0]}?)" if near else ""
