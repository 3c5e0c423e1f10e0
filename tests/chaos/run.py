"""`make chaos`: every fault, as often as its table says, one line each; fails when a promise was broken.

usage: python -m tests.chaos.run [--seed N] [FAULT...]
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import statistics
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.system import Outcome, say

# What stock Sentinel needs for a safe write after a kill, and then some for a busy machine.
WORST_STALL_S = 2.5


def broken(outcome: Outcome, *, may_fail: bool, replica_lives: bool) -> list[str]:
    """Return which promises were broken."""
    result = outcome.result
    found = [f"lost: {instance}" for instance in outcome.lost]
    if replica_lives:
        found += [f"lookup failed: {f.status} {f.said}" for f in result.failed("lookup")]
    if not may_fail:
        found += [f"{f.kind} failed: {f.status} {f.said}" for f in result.failures if f.kind != "lookup"]
    return found


def main() -> int:
    """Run the faults that were named, or all; return 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--times", type=int, help="how often, instead of what the table says")
    parser.add_argument("faults", nargs="*", choices=[[], *(run.__name__ for run, _, _ in FAULTS)], metavar="FAULT")
    args = parser.parse_args()
    bad = 0
    for run, times, may_fail in FAULTS:
        if args.faults and run.__name__ not in args.faults:
            continue
        stalls: list[float] = []
        for number in range(args.times or times):
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
                outcome = run(Path(folder), args.seed + number)
            stalls.append(outcome.stall_s)
            say(outcome)
            for promise in broken(outcome, may_fail=may_fail, replica_lives="replica_of_ours" not in run.__name__)[:10]:
                bad += 1
                say(f"    BROKEN: {promise}")
        if len(stalls) > 1:
            worst, median = max(stalls), statistics.median(stalls)
            say(f"  {run.__name__}: longest write: median {median:.2f} s, worst {worst:.2f} s of {len(stalls)}")
            if not may_fail and worst > WORST_STALL_S:
                bad += 1
                say(f"    BROKEN: a write took longer than {WORST_STALL_S} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
