"""Draws docs/scale.svg: how much of what it has a replica and a Redis master use while a fleet grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from bench.scale.fleet_model import Costs, Deployed, costs
from bench.scale.sizing import fleet_of

WIDTH, HEIGHT = 860, 470
LEFT, RIGHT, TOP, BOTTOM = 70, 250, 30, 50
SMALLEST, LARGEST = 3, 6  # powers of ten: instances
LEAST, MOST = -3, 2  # powers of ten: share of what there is
STEPS: Final = 24
LAYOUT: Final = Deployed(replicas=2)
GIGABIT: Final = 125_000_000.0
MEMORY_MB: Final = 4096.0


class Curve(NamedTuple):
    """One line of the plot: the share that it shows of one layout's costs."""

    label: str
    colour: str
    share: Callable[[Costs], float]
    dashed: bool = False


def _without_acknowledgements(used: Costs) -> float:
    return used.replica.cores - used.replica.cpu["acknowledgements"] / 1e6


CURVES: Final = (
    Curve("replica: processor (1 core)", "#1f5fa8", lambda used: used.replica.cores),
    Curve("the same without acknowledged drains", "#1f5fa8", _without_acknowledgements, dashed=True),
    Curve("replica: traffic (1 Gbit/s)", "#2f7d32", lambda used: used.replica.octets_per_s / GIGABIT),
    Curve("replica: memory (4 GB)", "#8a5a00", lambda used: used.replica.memory_mb / MEMORY_MB),
    Curve("Redis master: processor (1 core)", "#b3261e", lambda used: used.redis.cores),
    Curve("Redis master: memory (4 GB)", "#b3261e", lambda used: used.redis.memory_mb / MEMORY_MB, dashed=True),
)


def plot_svg(constants: Mapping[str, float]) -> str:
    """Return the picture."""
    return "\n".join(_lines(constants)) + "\n"


def _x(power: float) -> float:
    return LEFT + (power - SMALLEST) / (LARGEST - SMALLEST) * (WIDTH - LEFT - RIGHT)


def _y(power: float) -> float:
    return TOP + (MOST - power) / (MOST - LEAST) * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, words: str, *, anchor: str = "middle", colour: str = "#333", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def _lines(constants: Mapping[str, float]) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif">'
    )
    yield "<title>What two replicas and one Redis master use of what they have while a fleet grows</title>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for power in range(SMALLEST, LARGEST + 1):
        yield f'<path d="M{_x(power):.1f},{TOP} V{bottom}" stroke="#e3e3e3" fill="none"/>'
        yield _text(_x(power), bottom + 18, f"{10**power:,}")
    for power in range(LEAST, MOST + 1):
        strong = power == 0
        colour, width = ("#555", 1.6) if strong else ("#e3e3e3", 1.0)
        yield f'<path d="M{LEFT},{_y(power):.1f} H{right}" stroke="{colour}" stroke-width="{width}" fill="none"/>'
        yield _text(LEFT - 8, _y(power) + 4, f"{10.0**power:g}", anchor="end")
    yield _text(LEFT + 6, _y(0) - 6, "all that there is", anchor="start", colour="#555")
    yield _text((LEFT + right) / 2, HEIGHT - 12, "instances (ten for each agent, each replaced once a day)")
    ends: list[tuple[float, Curve]] = []
    for curve in CURVES:
        points = []
        for step in range(STEPS + 1):
            size = SMALLEST + (LARGEST - SMALLEST) * step / STEPS
            share = curve.share(costs(fleet_of(round(10**size)), LAYOUT, constants))
            if 10.0**LEAST <= share <= 10.0**MOST:
                points.append(f"{_x(size):.1f},{_y(math.log10(share)):.1f}")
        if not points:
            continue
        dash = ' stroke-dasharray="6 4"' if curve.dashed else ""
        path = " L".join(points)
        yield f'<path d="M{path}" stroke="{curve.colour}" stroke-width="2" fill="none"{dash}/>'
        ends.append((float(points[-1].partition(",")[2]), curve))
    lowest = 0.0
    for y, curve in sorted(ends, key=lambda end: end[0]):
        lowest = max(y, lowest + 16)
        yield _text(right + 10, lowest + 4, curve.label, anchor="start", colour=curve.colour)
    yield "</svg>"
