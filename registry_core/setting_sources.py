"""Collects the settings that a program was given in its environment, with the secrets that stand in files.

A name that misspells a setting is reported in one line (SettingsError). Other unknown names are only returned: an
environment also holds the variables of other programs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from registry_core.causes import cause_of
from registry_core.errors import SettingsError
from registry_core.setting_names import misspelt
from registry_core.setting_values import Given, GivenSetting, Values, values_of
from registry_core.settings import FILE_SUFFIX, RemovedSetting, Setting

ENVIRONMENT: Final = "environment"
MAX_SECRET_BYTES: Final = 64 * 1024


def read_settings(
    table: Collection[Setting[Any]],
    environment: Mapping[str, str],
    *,
    prefixes: tuple[str, ...] = (),
    known: Collection[str] = (),
    removed: Iterable[RemovedSetting] = (),
) -> Values:
    """Return the values of `table` from `environment`; a blank value means the default.

    Raises SettingsError for the first wrong value, and for a misspelt name. Unknown names that start with one of
    `prefixes`, and are neither in `known` nor in `removed`, are in `unknown` of the values.
    """
    unknown = unknown_names(table, environment, prefixes, {*known, *(setting.name for setting in removed)})
    return values_of(table, given_in(table, environment), unknown)


def unknown_names(
    table: Iterable[Setting[Any]], environment: Iterable[str], prefixes: tuple[str, ...], known: Collection[str]
) -> tuple[str, ...]:
    """Return the names in `environment` that start with one of `prefixes` and are not known.

    Raises SettingsError for a name, with any prefix or none, that misspells a setting of `table`.
    """
    ours = [name for setting in table for name in setting.spellings]
    accepted = {*ours, *known}
    unknown = []
    for name in sorted(environment):
        if name in accepted:
            continue
        guess = misspelt(name, ours)
        if guess is not None:
            raise SettingsError(f"{name}: there is no such setting (did you mean {guess}?)")
        if prefixes and name.startswith(prefixes):
            unknown.append(name)
    return tuple(unknown)


def given_in(
    table: Iterable[Setting[Any]],
    texts: Mapping[str, str],
    *,
    source: str = ENVIRONMENT,
    label: Callable[[str], str] = str,
) -> Given:
    """Return the settings of `table` that `texts` gives under their spellings; blank ones are left out.

    `label` returns how messages name a spelling. Raises SettingsError when the file of a secret cannot be read.
    """
    found: dict[str, tuple[GivenSetting, ...]] = {}
    for setting in table:
        given = []
        for name in setting.spellings:
            text = texts.get(name, "")
            if not text.strip():
                continue
            if setting.secret and name.endswith(FILE_SUFFIX):
                path = text.strip()
                given.append(GivenSetting(secret_in(path, label(name)), label(name), source, path))
            else:
                given.append(GivenSetting(text, label(name), source))
        if given:
            found[setting.name] = tuple(given)
    return found


def removed_among(given: Mapping[str, str], removed: Iterable[RemovedSetting]) -> tuple[RemovedSetting, ...]:
    """Return the removed settings that `given` sets. A blank value sets nothing."""
    return tuple(setting for setting in removed if given.get(setting.name, "").strip())


def secret_in(path: str, label: str) -> str:
    """Return the text of the file at `path`. Raises SettingsError, which begins with `label`. Blocks."""
    try:
        with Path(path).open("rb") as file:
            body = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{label}: {path} cannot be read: {cause_of(error)}") from None
    except ValueError:
        raise SettingsError(f"{label}: {path!r} is not the name of a file") from None
    if len(body) > MAX_SECRET_BYTES:
        raise SettingsError(f"{label}: {path} has more than {MAX_SECRET_BYTES} bytes: it is not a secret")
    try:
        text = body.decode().removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise SettingsError(f"{label}: {path} is not text") from None
    if not text.strip():
        raise SettingsError(f"{label}: {path} is empty")
    return text
