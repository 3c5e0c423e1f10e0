"""Levels of log lines: one for everything, and others for components. Pure.

`info,agent.sync=debug` is what a setting says, as in other programs: a level for all, then `component=level`. A
component's level holds for those below it, too: `dns=debug` for `dns.forwarding`. The longest name that fits counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from registry_core.errors import NotFound, ValidationError
from registry_core.settings import Setting

LEVELS: Final = ("debug", "info", "warning", "error")
NUMBERS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# What other programs call them.
_ALSO: Final[Mapping[str, str]] = {"warn": "warning", "err": "error"}
DEFAULT_LEVEL: Final = "info"

# Every component of each program's lines; the page of log events has the same.
_BOTH: Final = ("aiohttp", "asyncio", "background", "telemetry", "tls")
AGENT_COMPONENTS: Final = (
    *("agent", "agent.certificates", "agent.checks", "agent.hosts", "agent.http", "agent.loader", "agent.registries"),
    *(
        "agent.reload",
        "agent.session",
        "agent.state",
        "agent.sync",
        "agent.upstreams",
        "agent.usage",
        "dns",
        "dns.forwarding",
    ),
    *_BOTH,
)
REGISTRY_COMPONENTS: Final = (
    *(
        "agent.registries",
        "agent.upstreams",
        "api.hub",
        "audit",
        "authority",
        "follow",
        "redis",
        "registry",
        "store.redis",
    ),
    *_BOTH,
)
COMPONENTS: Final[Mapping[str, tuple[str, ...]]] = {"agent": AGENT_COMPONENTS, "registry": REGISTRY_COMPONENTS}


class LogLevels(msgspec.Struct, frozen=True):
    """The level of everything, and those of components, in the order of their names."""

    base: str = DEFAULT_LEVEL
    components: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return ",".join([self.base, *(f"{component}={level}" for component, level in self.components)])

    def of(self, component: str) -> str:
        """Return the level of a component."""
        by_name = dict(self.components)
        while component:
            if component in by_name:
                return by_name[component]
            component = component.rpartition(".")[0]
        return self.base

    @property
    def lowest(self) -> str:
        """The lowest of all levels."""
        return min((self.base, *(level for _, level in self.components)), key=LEVELS.index)


def known_names(components: Iterable[str]) -> tuple[str, ...]:
    """Return what may be named: the components, and what comes before a dot in them; sorted."""
    return tuple(sorted({name for one in components for name in (one, one.partition(".")[0])}))


def levels_reader(components: Iterable[str]) -> Callable[[str], LogLevels]:
    """Return the reader of a setting. It raises ValueError, with what is known, for an unknown level or component."""
    known = known_names(components)

    def read(text: str) -> LogLevels:
        base, named = "", dict[str, str]()
        for part in (part.strip() for part in text.split(",")):
            name, equals, level = part.rpartition("=")
            level = _level(level)
            if not equals:
                if base:
                    raise ValueError("it has two levels for everything; others are component=level")
                base = level
                continue
            name = name.strip().lower()
            if name not in known:
                raise ValueError(f"there is no component {name[:100]!r}: {', '.join(known)}")
            if named.setdefault(name, level) != level:
                raise ValueError(f"it has two levels for {name}")
        return LogLevels(base or DEFAULT_LEVEL, tuple(sorted(named.items())))

    return read


def _level(text: str) -> str:
    level = _level_in(text)
    if level is None:
        raise ValueError(f"{text[:100]!r} is not one of the levels {', '.join(LEVELS)}")
    return level


def _level_in(text: str) -> str | None:
    word = text.strip().lower()
    word = _ALSO.get(word, word)
    return word if word in LEVELS else None


def changed(levels: LogLevels, components: Iterable[str], component: str, level: str) -> LogLevels:
    """Return `levels` with another one for a component and what is below it, or with "" for everything.

    Raises ValidationError for an unknown level, NotFound for an unknown component; both name the known ones.
    """
    wanted = _level_in(level)
    if wanted is None:
        raise ValidationError(f"a level is one of {', '.join(LEVELS)}", field="level", provided=level, example="debug")
    if not component:
        return LogLevels(wanted)
    known = known_names(components)
    if component not in known:
        raise NotFound(
            f"this program has no such component: {', '.join(known)}",
            field="component",
            provided=component,
            example=known[0],
        )
    above = f"{component}."
    kept = {name: at for name, at in levels.components if name != component and not name.startswith(above)}
    return LogLevels(levels.base, tuple(sorted({**kept, component: wanted}.items())))


def log_level_setting(name: str, components: Iterable[str], example: str) -> Setting[LogLevels]:
    """Return the row of a program's levels in its table of settings."""
    meaning = f"the lowest level that is logged: {', '.join(LEVELS)}; for a component, component=level after a comma"
    return Setting(name, levels_reader(components), LogLevels(), meaning, example)
