"""Runs the benchmarks: prints a table and writes bench/results/<time>.json, with a description of the machine.

Each row is a ratio to a named program that runs on the same machine in the same minute, so that rows of different
machines can be compared. To add a row, write a module with a function that returns results, and add a line to ROWS.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench import (
    agent,
    agent_change,
    agent_recording,
    audit,
    behind_nginx,
    dns_rows,
    fanout,
    large,
    levels,
    lookups,
    neighbour,
    propagation,
    replica_recording,
    replicated,
    returning,
    spike,
    traces,
    tree,
    watchers,
)
from bench.machine import this_machine
from bench.rows import Result, table

RESULTS: Final = Path(__file__).resolve().parent / "results"
ROWS: Final[dict[str, Callable[[int], Sequence[Result]]]] = {
    "propagation": lambda count: [propagation.measure(count)],
    "replicated": replicated.measure,
    "levels": levels.measure,
    "lookups": lookups.measure,
    "behind-nginx": behind_nginx.measure,
    "spike": spike.measure,
    "large": large.measure,
    "agent": agent.measure,
    "agent-change": agent_change.measure,
    "audit": audit.measure,
    "dns": dns_rows.measure,
    "traces": traces.measure,
    "neighbour": neighbour.measure,
    "return": returning.measure,
    "fanout": fanout.measure,
    "watchers": watchers.measure,
    "tree": tree.measure,
    "recording": lambda count: [*replica_recording.measure(count), *agent_recording.measure(count)],
}


def main() -> int:
    """Run the requested benchmarks; return 1 when a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)} (default: all)")
    parser.add_argument("--count", type=int, default=500, help="measurements for each row (default 500)")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - set(ROWS)
    if unknown:
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    if not 1 <= arguments.count <= 10_000:
        parser.error("--count must be between 1 and 10000")
    machine = this_machine()
    rows = [result for name in arguments.rows or ROWS for result in ROWS[name](arguments.count)]
    print(f"\n{table(rows)}")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}.json"
    shown = [{**msgspec.to_builtins(row), "ratio": round(row.ratio, 2), "met": row.met} for row in rows]
    report = {"machine": machine, "rows": shown}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    print(f"wrote {path}")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
