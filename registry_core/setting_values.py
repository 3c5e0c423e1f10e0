"""The settings that a program was given, each with its place, and the values that its table reads from them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from registry_core.errors import SettingsError
from registry_core.settings import Setting, shown, shown_default

T = TypeVar("T")
DEFAULT: Final = "default"
COMMAND_LINE: Final = "command line"
MOST_SHOWN: Final = 20  # of the names that a log line lists
MASK: Final = "***"


class GivenSetting(msgspec.Struct, frozen=True):
    """A text for a setting, with the name that the user wrote and its source."""

    text: str
    label: str  # how messages name it: `SERVICE_PORT`, `--listen`, `/etc/agent.toml: [agent] zone`
    source: str  # `environment`, `command line`, or a file
    secret_file: str = ""  # the file that holds the text, when `label` names only the file


# By the name of the setting. There are several when it was given under several of its names.
Given: TypeAlias = Mapping[str, tuple[GivenSetting, ...]]


class Values:
    """The values of a table's settings: `values[PORT]` has the type that PORT reads."""

    def __init__(self, found: Mapping[str, Any], given: Given, unknown: tuple[str, ...] = ()) -> None:
        self._found = found
        self._given = given
        self.unknown = unknown  # names that look like settings and are none

    def __getitem__(self, setting: Setting[T]) -> T:
        value: T = self._found[setting.name]
        return value

    def given(self, setting: Setting[Any]) -> tuple[GivenSetting, ...]:
        """Return how `setting` was given; empty when its default is used."""
        return self._given.get(setting.name, ())

    def label(self, name: str) -> str:
        """Return the name of the setting called `name` as the user wrote it, or `name` when it was not given."""
        given = self._given.get(name, ())
        return given[0].label if given else name

    def source(self, setting: Setting[Any]) -> str:
        """Return where the value of `setting` comes from, for people."""
        return (
            ", ".join(
                f"{one.source}, {one.label}, {one.secret_file}" if one.secret_file else _place(one, setting)
                for one in self.given(setting)
            )
            or DEFAULT
        )

    def shown(self, setting: Setting[Any]) -> str:
        """Return the value of `setting` for people, without anything secret."""
        given = self.given(setting)
        if not given:
            return shown_default(setting)
        if setting.secret:
            return setting.shown(self[setting]) if setting.shown is not None else MASK
        return given[0].text.strip()


def _place(one: GivenSetting, setting: Setting[Any]) -> str:
    if one.label == setting.name:
        return one.source
    return one.label if one.label.startswith(one.source) else f"{one.source}, {one.label}"


def from_flags(flags: Mapping[str, tuple[str, str | None]]) -> Given:
    """Return the settings that flags give: for each setting's name its flag and its text, None when it is absent."""
    return {name: (GivenSetting(text, flag, COMMAND_LINE),) for name, (flag, text) in flags.items() if text is not None}


def values_of(table: Iterable[Setting[Any]], given: Given, unknown: tuple[str, ...] = ()) -> Values:
    """Return the values of `table`. Raises SettingsError, in one line, for the first wrong one.

    A setting that is given under several of its names must have one value. Of a list one may have only some items:
    they come first.
    """
    return Values({setting.name: _value(setting, given.get(setting.name, ())) for setting in table}, given, unknown)


def _value(setting: Setting[T], given: tuple[GivenSetting, ...]) -> T:
    if not given:
        return setting.default
    value = _read(setting, given[0])
    for one in given[1:]:
        agreed = _agreed(value, _read(setting, one))
        if agreed is None:
            names = " and ".join(other.label for other in given)
            raise SettingsError(f"{names}: they are names of one setting and differ; set only {setting.name}")
        value = agreed
    return value


def _read(setting: Setting[T], one: GivenSetting) -> T:
    try:
        return setting.read(one.text)
    except ValueError as error:
        what = f"the content of {one.secret_file}" if one.secret_file else "the value" if setting.secret else ""
        what = what or shown(one.text)
        raise SettingsError(f"{one.label}: {what} cannot be used: {error} (example: {setting.example})") from None


def _agreed(one: T, other: T) -> T | None:
    if one == other:
        return one
    if isinstance(one, tuple) and isinstance(other, tuple):
        fewer, more = sorted((one, other), key=len)
        if set(fewer) <= set(more):
            return type(one)(dict.fromkeys((*fewer, *more)))
    return None
