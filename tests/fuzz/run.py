"""`make fuzz`: sends a million odd packets to a real agent; fails when the agent misbehaves.

usage: python -m tests.fuzz.run [--seed N] [--count N]

Packets with findings are written to tests/fuzz/corpus/found-*.hex: from then on every run of the tests sends them.
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.fuzz.campaign import Campaign, Report, settle
from tests.fuzz.mutants import CORPUS_FOLDER, Mutants
from tests.scenarios.judged import judged

MOST_GROWTH_MB: Final = 8.0
# What the agent logs about its own faults, caught or not.
TROUBLE: Final = re.compile(r'"level":"(error|critical)"|Traceback|Exception')


def fuzz(seed: int, count: int, folder: Path) -> Report:
    """Run a campaign against its own agent."""
    with judged(folder) as system:
        settle(system)
        report = Campaign(system.ports.dns, system.agent.pid).run(Mutants(seed).packets(count), count)
        if TROUBLE.search(system.agent.output()):
            raise AssertionError(f"seed {seed}: the agent logged an error:\n{system.agent.output()}")
        return report


def main() -> int:
    """Fuzz, and print the result; return 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--count", type=int, default=1_000_000)
    args = parser.parse_args()
    sys.stdout.write(f"seed {args.seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        report = fuzz(args.seed, args.count, Path(folder))
    sys.stdout.write(f"{report}\n")
    for finding in report.findings:
        sys.stdout.write(f"{finding}\n  kept as {finding.save(CORPUS_FOLDER, args.seed)}\n")
    if report.grown_mb > MOST_GROWTH_MB:
        sys.stdout.write(f"the agent grew by {report.grown_mb:.1f} MB, more than {MOST_GROWTH_MB}\n")
    return 1 if report.findings or report.grown_mb > MOST_GROWTH_MB else 0


if __name__ == "__main__":
    sys.exit(main())
