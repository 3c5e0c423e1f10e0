"""`make chaos`: runs every fault as often as its table says, one line each; fails when a promise was broken.

usage: python -m tests.chaos.run [--seed N] [--times K] [FAULT...]
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import FAULTS, Fault
from tests.chaos.system import Outcome, say

# What stock Sentinel needs for a safe write after a kill, plus a margin for a busy machine.
WORST_STALL_S = 2.5


def broken(fault: Fault, outcome: Outcome) -> list[str]:
    """Return which promises were broken."""
    result = outcome.result
    found = [*outcome.broken, *(f"lost: {instance}" for instance in outcome.lost)]
    for failure in result.failures:
        if failure.kind == "lookup" and not fault.replica_lives:
            continue
        if failure.kind == "lookup" or failure.status not in fault.may_fail_with:
            at_s = failure.at - result.began_at
            found.append(f"{failure.kind} failed after {at_s:.1f} s: {failure.status} {failure.said}")
        if fault.refuses_within_s is not None and failure.took_s > fault.refuses_within_s:
            found.append(f"{failure.kind} was refused only after {failure.took_s:.2f} s: {failure.said}")
    if not fault.may_fail_with and outcome.stall_s > WORST_STALL_S:
        found.append(f"a write took longer than {WORST_STALL_S} s")
    return found


def summary(outcomes: list[Outcome]) -> str:
    """Return the summary of all runs of one fault."""
    stalls = [outcome.stall_s for outcome in outcomes]
    lost = [len(outcome.lost) for outcome in outcomes]
    acknowledged = sum(len(outcome.result.acknowledged) for outcome in outcomes)
    return (
        f"  longest write of {len(stalls)} runs: median {statistics.median(stalls):.2f} s, worst {max(stalls):.2f} s; "
        f"{sum(bool(each) for each in lost)} runs lost something: {sum(lost)} of {acknowledged} acknowledged"
    )


def main() -> int:
    """Run the named faults, or all; return 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--times", type=int, help="how often, instead of the table's number")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(f.run.__name__ for f in FAULTS))
    args = parser.parse_args()
    meant = [fault for fault in FAULTS if not args.faults or fault.run.__name__ in args.faults]
    if not meant:
        parser.error("there is no such fault")
    bad = 0
    for fault in meant:
        reason = fault.why_not()
        if reason:
            say(f"NOT DONE: {fault.run.__name__}: {reason}")
            continue
        outcomes: list[Outcome] = []
        for number in range(args.times or fault.times):
            with tempfile.TemporaryDirectory() as folder:
                outcome = fault.run(Path(folder), args.seed + number)
            outcomes.append(outcome)
            say(outcome)
            promises = broken(fault, outcome)
            bad += len(promises)
            for promise in promises[:10]:
                say(f"    BROKEN: {promise}")
        if len(outcomes) > 1:
            say(summary(outcomes))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
