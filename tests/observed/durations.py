"""Shortens the durations in rules, so that minutes and days pass within seconds.

Only durations change: windows (`[5m]`), offsets and `for:`. A longer one stays longer than a shorter one, since an
alert with two windows means nothing otherwise. Thresholds, metrics and labels stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_UNITS_S: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h|d|w|y)")
# Inside brackets, with or without the step of a subquery; and offsets.
_WINDOW: Final = re.compile(r"\[([\da-z]+)(:?)([\da-z]*)\]|\boffset\s+([\da-z]+)")
# Each duration of a rule up to the left one becomes the right one. With a scrape each second, 5 s have enough of them.
SHORTER_S: Final[tuple[tuple[float, int], ...]] = (
    (60, 4),
    (300, 5),
    (900, 8),
    (1800, 10),
    (3600, 15),
    (7200, 20),
    (21_600, 25),
    (86_400, 30),
    (259_200, 35),
    (604_800, 40),
)
# How long an alert has to last before it fires, and how often a subquery looks, at most.
FOR_S: Final = 2
STEP_S: Final = 1


def seconds(duration: str) -> float:
    """Return a duration of Prometheus, such as `1h30m`. Raises ValueError for anything else."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is no duration")
    return sum(int(number) * _UNITS_S[unit] for number, unit in parts)


def shorter(duration: str) -> str:
    """Return what stands for a window. Raises ValueError for one that is longer than any in SHORTER_S."""
    length_s = seconds(duration)
    for limit_s, short_s in SHORTER_S:
        if length_s <= limit_s:
            return f"{short_s}s"
    raise ValueError(f"{duration!r} is longer than any window here: add a line to SHORTER_S")


def quick_expression(expression: str) -> str:
    """Return an expression with shorter windows and offsets."""

    def replaced(found: re.Match[str]) -> str:
        window, colon, step, offset = found.groups()
        if offset is not None:
            return f"offset {shorter(offset)}"
        step_s = f"{STEP_S}s" if step else ""
        return f"[{shorter(window)}{colon}{step_s}]"

    return _WINDOW.sub(replaced, expression)


def quick_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule with a shorter `for:` and shorter windows, also in the queries of its texts."""
    changed = {**rule, "expr": quick_expression(rule["expr"])}
    if "for" in rule:
        changed["for"] = f"{min(seconds(rule['for']), FOR_S):g}s"
    return changed
