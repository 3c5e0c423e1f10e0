"""Judges service levels by what was measured: met, missed, or unknown, which is never met."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from cli.slo.levels import LEVELS, Decides, Level, LevelUnit
from cli.table import aligned

HEADINGS: Final = ("LEVEL", "PROMISED", "MEASURED", "VERDICT", "")


class Kept(enum.Enum):
    """Whether a promise was kept."""

    MET = "met"
    MISSED = "missed"
    UNKNOWN = "unknown"


class Measurement(NamedTuple):
    """What was measured for a level; without a value, `why` says why there is none."""

    value: float | None
    why: str = ""
    decides: Decides = Decides.BOTH


NOT_MEASURED: Final = Measurement(None, "this source does not measure it")


class LevelVerdict(NamedTuple):
    """A level, what was measured, and what follows."""

    level: Level
    measured: float | None
    kept: Kept
    why: str = ""


def verdict(level: Level, measurement: Measurement) -> LevelVerdict:
    """Return the verdict on one level. A measurement that is no number is none."""
    value = measurement.value
    if value is None or not math.isfinite(value):
        return LevelVerdict(level, None, Kept.UNKNOWN, measurement.why or "there is no number")
    met = level.keeps(value)
    match measurement.decides, met:
        case Decides.MET, False:
            return LevelVerdict(level, value, Kept.UNKNOWN, "nobody asked for more")
        case Decides.MISSED, True:
            return LevelVerdict(level, value, Kept.UNKNOWN, "only a part of the way was measured")
        case _:
            return LevelVerdict(level, value, Kept.MET if met else Kept.MISSED)


def verdicts(measurements: Mapping[str, Measurement]) -> list[LevelVerdict]:
    """Return the verdict on each level, by what was measured for the levels of these names."""
    return [verdict(level, measurements.get(level.name, NOT_MEASURED)) for level in LEVELS]


def shown_value(value: float, unit: LevelUnit) -> str:
    """Return a figure with its unit: milliseconds below a second, a share in percent."""
    match unit:
        case LevelUnit.SECONDS if abs(value) < 1:
            return f"{value * 1000:.3g} ms"
        case LevelUnit.SECONDS:
            return f"{value:.3g} s"
        case LevelUnit.SHARE:
            return f"{value * 100:.5g} %"
        case LevelUnit.PER_SECOND:
            return f"{value:,.0f}/s"
        case LevelUnit.REQUESTS:
            return f"{value:,.0f}"


def lines(found: Sequence[LevelVerdict]) -> list[str]:
    """Return the table for people, and one line that counts."""
    rows = [HEADINGS]
    for level, measured, kept, why in found:
        sign = ">=" if level.at_least else "<="
        promised = f"{sign} {shown_value(level.bound, level.unit)}"
        value = "-" if measured is None else shown_value(measured, level.unit)
        rows.append((level.promise, promised, value, kept.value, why))
    counts = ", ".join(f"{sum(each.kept is kept for each in found)} {kept.value}" for kept in Kept)
    return [*aligned(rows, right=(1, 2)), "", counts]


def as_json(found: Sequence[LevelVerdict], source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdicts for programs; values are in the unit of each level."""
    return {
        "source": dict(source),
        "missed": [each.level.name for each in found if each.kept is Kept.MISSED],
        "levels": [
            {
                "name": level.name,
                "promise": level.promise,
                "unit": level.unit.value,
                "bound": level.bound,
                "at_least": level.at_least,
                "measured": measured,
                "verdict": kept.value,
                "why": why,
            }
            for level, measured, kept, why in found
        ],
    }
