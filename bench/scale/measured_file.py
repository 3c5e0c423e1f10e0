"""The file of what was measured: the constants by row, and whole systems, each with its machine and its date (UTC)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from bench.machine import BenchMachine
from bench.scale.constants import CONSTANTS, FOLLOWER_CONSTANTS
from bench.scale.fleet_model import Fleet

FILE: Final = Path(__file__).resolve().parent / "measured.json"


class RowResult(msgspec.Struct, frozen=True):
    """What one row found."""

    row: str
    date: str
    machine: BenchMachine
    values: dict[str, float]


class SystemResult(msgspec.Struct, frozen=True):
    """What one whole system was, and what it used."""

    date: str
    machine: BenchMachine
    fleet: Fleet
    measured: dict[str, float]


class MeasuredFile(msgspec.Struct, frozen=True):
    """The last result of each row, and of each whole system."""

    rows: tuple[RowResult, ...] = ()
    systems: tuple[SystemResult, ...] = ()


def read_measured(path: Path = FILE) -> MeasuredFile:
    """Return what the file holds; nothing when there is none."""
    if not path.exists():
        return MeasuredFile()
    return msgspec.json.decode(path.read_bytes(), type=MeasuredFile)


def write_measured(file: MeasuredFile, path: Path = FILE) -> None:
    """Write the file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(file)) + b"\n")


def constants_of(file: MeasuredFile) -> dict[str, float]:
    """Return all constants by name."""
    return {name: value for row in file.rows for name, value in row.values.items()}


def with_rows(file: MeasuredFile, rows: Iterable[RowResult]) -> MeasuredFile:
    """Return the file with these results in place of older ones of the same rows, in the order of the constants."""
    by_name = {row.row: row for row in (*file.rows, *rows)}
    order = dict.fromkeys(constant.row for constant in (*CONSTANTS, *FOLLOWER_CONSTANTS))
    return MeasuredFile(tuple(by_name[name] for name in order if name in by_name), file.systems)


def with_systems(file: MeasuredFile, systems: Iterable[SystemResult]) -> MeasuredFile:
    """Return the file with these whole systems in place of older ones of the same size, the smallest first."""
    by_size = {system.fleet.instances: system for system in (*file.systems, *systems)}
    return MeasuredFile(file.rows, tuple(by_size[size] for size in sorted(by_size)))
