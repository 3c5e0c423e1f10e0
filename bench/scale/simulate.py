"""Measures the constants of the cost model, judges the model by whole systems, and prints what it says of fleets.

`python -m bench.scale.simulate` does all of it and writes the file from which docs/scale.md is made (`make map`); with
`--rows` or `--systems` only that part, and with `--plan INSTANCES` nothing is measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final

import uvloop

from bench.machine import this_machine
from bench.scale import agent_rows, follower_rows, replica_rows
from bench.scale.comparison import compared
from bench.scale.constants import missing_from
from bench.scale.measured_file import (
    MeasuredFile,
    RowResult,
    constants_of,
    read_measured,
    with_rows,
    with_systems,
    write_measured,
)
from bench.scale.replica_rows import ConstantValues
from bench.scale.rig import rig
from bench.scale.sizing import fleet_of, planned
from bench.scale.systems import SYSTEMS, measured_system
from cli.table import aligned


def main() -> int:
    """Measure, compare and print; return 1 when a whole system is further from the model than it may be."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale.simulate", description=__doc__)
    parser.add_argument("--rows", nargs="*", choices=ROWS, metavar="ROW", help=f"measure only {', '.join(ROWS)}")
    parser.add_argument("--systems", action="store_true", help="run only the whole systems")
    parser.add_argument("--plan", type=int, metavar="INSTANCES", help="say what a fleet of this size takes")
    arguments = parser.parse_args()
    file = read_measured()
    if arguments.plan is None:
        load, processors = os.getloadavg()[0], len(os.sched_getaffinity(0))
        if load > processors / 2:
            print(f"NOT QUIET: load {load:.1f} on {processors} processors: processor time may be off by half")
        everything = arguments.rows is None and not arguments.systems
        if everything or arguments.rows is not None:
            file = _rows(file, arguments.rows or ROWS)
        if everything or arguments.systems:
            file = _systems(file)
    missing = missing_from(constants_of(file))
    if missing:
        print(f"not measured yet: {', '.join(missing)}", file=sys.stderr)
        return 2
    good = _compare(file)
    _plans(constants_of(file), [arguments.plan] if arguments.plan else (10_000, 100_000, 1_000_000))
    return 0 if good else 1


def _replicas() -> dict[str, ConstantValues]:
    with rig() as made:
        return uvloop.run(replica_rows.measured(made))


def _agent() -> dict[str, ConstantValues]:
    with rig() as made:
        return {"agent": uvloop.run(agent_rows.measured(made))}


ROWS: Final[dict[str, Callable[[], dict[str, ConstantValues]]]] = {
    "replicas": _replicas,
    "agent": _agent,
    "dns": lambda: {"dns": agent_rows.measured_dns()},
    "followers": follower_rows.measured,
}


def _rows(file: MeasuredFile, names: Iterable[str]) -> MeasuredFile:
    for name in names:
        date, machine = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()), this_machine()
        found = ROWS[name]()
        file = with_rows(file, [RowResult(row, date, machine, values) for row, values in found.items()])
        write_measured(file)
        shown = [(key, f"{value:,.2f}") for values in found.values() for key, value in values.items()]
        print("\n".join(aligned(shown, right=(1,))))
    return file


def _systems(file: MeasuredFile) -> MeasuredFile:
    for fleet in SYSTEMS:
        file = with_systems(file, [measured_system(fleet)])
        write_measured(file)
    return file


def _compare(file: MeasuredFile) -> bool:
    constants = constants_of(file)
    good = True
    for result in file.systems:
        print(f"\n{result.fleet.instances:,} instances, {result.fleet.agents:,} agents")
        rows = compared(result, constants)
        lines = [
            (
                row.what,
                f"{row.predicted:,.2f}",
                f"{row.measured:,.2f}",
                row.unit,
                f"{row.ratio:.2f}",
                "" if row.met else "OFF",
            )
            for row in rows
        ]
        print("\n".join(aligned([("", "model", "measured", "", "ratio", ""), *lines], right=(1, 2, 4))))
        good = good and all(row.met for row in rows)
    return good


def _plans(constants: ConstantValues, sizes: Iterable[int]) -> None:
    for instances in sizes:
        plan = planned(fleet_of(instances), constants)
        if plan is None:
            print(f"\n{instances:,} instances: no layout has room")
            continue
        layout, used, room = plan
        programs = f"{layout.replicas} replicas, {layout.followers} followers, {layout.shards} shards"
        programs += f", up to {room.cores:.0%} of a core each"
        print(f"\n{instances:,} instances: {programs}")
        for name, load in (
            ("replica", used.replica),
            ("follower", used.follower),
            ("redis", used.redis),
            ("agent", used.agent),
        ):
            if load is not None:
                largest = max(load.cpu, key=lambda share: load.cpu[share])
                traffic = f"{load.memory_mb:,.0f} MB, {load.octets_per_s / 1000:,.0f} kB/s"
                print(f"  {name}: {load.cores:.3f} cores (most: {largest}), {traffic}")


if __name__ == "__main__":
    sys.exit(main())
